//! What a driver asks when it connects, and then every few seconds.

use bson::{DateTime, RawDocumentBuf, rawdoc};

use crate::store::MAX_DOCUMENT;
use crate::wire::MAX_MESSAGE;

/// The version that is claimed: the protocol of MongoDB 7.0, which all current drivers speak.
const VERSION: &str = "7.0.0";
const WIRE_VERSION: i32 = 21;
/// Most documents in one insert (`maxWriteBatchSize` of mongod).
pub(super) const MAX_BATCH: usize = 100_000;

/// A standalone server. `primary` is the field's name: `ismaster` in the old form of the command.
///
/// There is no `topologyVersion`. It would promise that the server holds `hello` back and streams replies when
/// its state changes; a standalone server's state never does. Without it drivers poll at their heartbeat
/// frequency ("Server Monitoring" in the driver specifications), and nothing is lost.
pub(super) fn hello(connection: i32, primary: &str) -> RawDocumentBuf {
    let mut reply = rawdoc! { "helloOk": true };
    match primary {
        "ismaster" => reply.append(bson::raw::cstr!("ismaster"), true),
        _ => reply.append(bson::raw::cstr!("isWritablePrimary"), true),
    }
    let rest = rawdoc! {
        "maxBsonObjectSize": int32(MAX_DOCUMENT),
        "maxMessageSizeBytes": int32(MAX_MESSAGE),
        "maxWriteBatchSize": int32(MAX_BATCH),
        "localTime": DateTime::now(),
        "logicalSessionTimeoutMinutes": 30,
        "connectionId": connection,
        "minWireVersion": 0,
        "maxWireVersion": WIRE_VERSION,
        "readOnly": false,
        "ok": 1.0,
    };
    for (key, value) in rest.iter().flatten() {
        reply.append(key, value);
    }
    reply
}

pub(super) fn build_info() -> RawDocumentBuf {
    rawdoc! {
        "version": VERSION,
        "versionArray": [7, 0, 0, 0],
        "modules": [],
        "bits": 64,
        "debug": false,
        "maxBsonObjectSize": int32(MAX_DOCUMENT),
        "ok": 1.0,
    }
}

/// BSON has no unsigned numbers; the constants are far below the limit.
fn int32(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
