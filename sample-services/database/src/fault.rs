//! MongoDB's error codes, as far as this program gives them.
//! Source: `src/mongo/base/error_codes.yml` of the MongoDB server.

use bson::{RawDocumentBuf, rawdoc};

/// Why a command failed, in the words that drivers understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: i32,
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

macro_rules! faults {
    ($($(#[$meta:meta])* $constructor:ident = $code:literal $name:literal;)*) => {
        impl Fault {
            $($(#[$meta])* pub(crate) fn $constructor(message: impl Into<String>) -> Self {
                Self { code: $code, name: $name, message: message.into() }
            })*
        }
    };
}

faults! {
    internal = 1 "InternalError";
    bad_value = 2 "BadValue";
    failed_to_parse = 9 "FailedToParse";
    unauthorized = 13 "Unauthorized";
    type_mismatch = 14 "TypeMismatch";
    invalid_length = 16 "InvalidLength";
    illegal_operation = 20 "IllegalOperation";
    cursor_not_found = 43 "CursorNotFound";
    invalid_id_field = 53 "InvalidIdField";
    command_not_found = 59 "CommandNotFound";
    invalid_namespace = 73 "InvalidNamespace";
    /// What MongoDB does and this program does not.
    not_implemented = 238 "NotImplemented";
    unsupported_op_query = 352 "UnsupportedOpQueryCommand";
    object_too_large = 10334 "BSONObjectTooLarge";
    duplicate_key = 11000 "DuplicateKey";
    out_of_disk_space = 14031 "OutOfDiskSpace";
    missing_field = 40414 "IDLFailedToParse";
    missing_database = 40571 "Location40571";
}

impl Fault {
    /// The reply to a command that failed as a whole.
    pub(crate) fn reply(&self) -> RawDocumentBuf {
        rawdoc! { "ok": 0.0, "errmsg": self.message.as_str(), "code": self.code, "codeName": self.name }
    }
}
