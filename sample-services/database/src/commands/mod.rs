//! The commands: what each one asks for and what it answers. Bytes and sockets are not known here.
//!
//! An option that this program ignores would make a wrong answer look right, so what changes a command's
//! meaning is either done or refused by name.

mod count;
mod cursors;
mod handshake;
mod insert;
mod query;

use bson::{Bson, Document, RawDocumentBuf, rawdoc};

use crate::fault::Fault;
use crate::store::Store;
use crate::wire::{Form, Request};
use cursors::Cursors;

type Reply = Result<RawDocumentBuf, Fault>;

/// Everything that commands work on.
pub(crate) struct Database {
    store: Store,
    cursors: Cursors,
}

impl Database {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, cursors: Cursors::default() }
    }

    /// Answers one request. May block on the disk.
    pub(crate) fn execute(&self, request: &mut Request, connection: i32) -> RawDocumentBuf {
        let reply = match &request.form {
            Form::Query(namespace) => legacy(namespace, &request.body, connection),
            Form::Message | Form::NoReply => self.dispatch(request, connection),
        };
        reply.unwrap_or_else(|fault| {
            tracing::debug!(code = fault.code, fault.message, "command failed");
            fault.reply()
        })
    }

    fn dispatch(&self, request: &mut Request, connection: i32) -> Reply {
        let command = Command::new(&request.body)?;
        match command.name {
            "hello" => Ok(handshake::hello(connection, "isWritablePrimary")),
            "isMaster" | "ismaster" => Ok(handshake::hello(connection, "ismaster")),
            "buildInfo" | "buildinfo" => Ok(handshake::build_info()),
            // Sessions hold nothing here that could be released.
            "ping" | "endSessions" => Ok(rawdoc! { "ok": 1.0 }),
            "insert" => insert::insert(&self.store, &command, &mut request.sequences),
            "find" => query::find(&self.store, &self.cursors, &command),
            "getMore" => query::get_more(&self.store, &self.cursors, &command),
            "killCursors" => query::kill_cursors(&self.cursors, &command),
            "count" => count::count(&self.store, &command),
            "aggregate" => count::aggregate(&self.store, &command),
            name => Err(Fault::command_not_found(format!("no such command: '{name}'"))),
        }
    }
}

/// Drivers begin with `OP_QUERY` where they cannot know yet that the server speaks `OP_MSG`. Nothing else is
/// served that way, as in mongod since 5.1.
fn legacy(namespace: &str, body: &Document, connection: i32) -> Reply {
    let name = body.keys().next().map_or("", String::as_str);
    match name {
        "isMaster" | "ismaster" if namespace.ends_with(".$cmd") => {
            Ok(handshake::hello(connection, "ismaster"))
        }
        "hello" if namespace.ends_with(".$cmd") => Ok(handshake::hello(connection, "isWritablePrimary")),
        _ => Err(Fault::unsupported_op_query(format!(
            "Unsupported OP_QUERY command: {name}. The client driver may require an upgrade."
        ))),
    }
}

/// A command's body, read field by field.
struct Command<'a> {
    name: &'a str,
    subject: &'a Bson,
    database: &'a str,
    body: &'a Document,
}

/// Fields that any command may carry and that change nothing here: sessions are not kept, reads and writes
/// are always as strong as can be, and no command takes long.
const GENERIC: [&str; 11] = [
    "$db",
    "$readPreference",
    "$clusterTime",
    "lsid",
    "comment",
    "maxTimeMS",
    "readConcern",
    "writeConcern",
    "apiVersion",
    "apiStrict",
    "apiDeprecationErrors",
];

impl<'a> Command<'a> {
    fn new(body: &'a Document) -> Result<Self, Fault> {
        let (name, subject) = body.iter().next().ok_or_else(|| Fault::failed_to_parse("an empty command"))?;
        let database = match body.get("$db") {
            Some(Bson::String(name)) => name,
            Some(_) => return Err(Fault::type_mismatch("the field '$db' must be a string")),
            None => return Err(Fault::missing_database("OP_MSG requests require a $db argument")),
        };
        if database.is_empty() || database.contains(['.', ' ', '$', '/', '\\', '\0']) {
            return Err(Fault::invalid_namespace(format!("Invalid database name: '{database}'")));
        }
        if body.contains_key("txnNumber") {
            let message = "Transaction numbers are only allowed on a replica set member or mongos";
            return Err(Fault::illegal_operation(message));
        }
        Ok(Self { name, subject, database, body })
    }

    /// Refuses every field but these and the generic ones. An empty document counts as absent: drivers send
    /// `sort: {}` for no order.
    fn allow(&self, fields: &[&str]) -> Result<(), Fault> {
        let odd = self.body.iter().skip(1).find(|(field, value)| {
            let empty = matches!(value, Bson::Document(document) if document.is_empty());
            !fields.contains(&field.as_str()) && !GENERIC.contains(&field.as_str()) && !empty
        });
        match odd {
            None => Ok(()),
            Some((field, _)) => Err(Fault::not_implemented(format!(
                "{}: this database does not know the option '{field}'",
                self.name
            ))),
        }
    }

    /// `DATABASE.COLLECTION`, with the collection that the command names.
    fn namespace(&self) -> Result<String, Fault> {
        self.namespace_of(self.subject)
    }

    fn namespace_of(&self, collection: &Bson) -> Result<String, Fault> {
        match collection {
            Bson::String(name)
                if !name.is_empty() && !name.contains(['$', '\0']) && !name.starts_with('.') =>
            {
                Ok(format!("{}.{name}", self.database))
            }
            Bson::String(name) => Err(Fault::invalid_namespace(format!(
                "Invalid namespace specified '{}.{name}'",
                self.database
            ))),
            other => Err(Fault::invalid_namespace(format!(
                "collection name has invalid type {:?}",
                other.element_type()
            ))),
        }
    }

    /// A count that is not negative. MongoDB takes any type of number.
    fn natural(&self, field: &str) -> Result<Option<usize>, Fault> {
        let number = match self.body.get(field) {
            None | Some(Bson::Null) => return Ok(None),
            Some(value) => whole(value).ok_or_else(|| {
                Fault::type_mismatch(format!("the field '{}.{field}' must be a whole number", self.name))
            })?,
        };
        usize::try_from(number).map(Some).map_err(|_negative| {
            Fault::bad_value(format!("the field '{field}' must be >= 0, actual value '{number}'"))
        })
    }

    fn flag(&self, field: &str) -> Result<Option<bool>, Fault> {
        match self.body.get(field) {
            None => Ok(None),
            Some(Bson::Boolean(value)) => Ok(Some(*value)),
            Some(value) => whole(value).map(|number| Some(number != 0)).ok_or_else(|| {
                Fault::type_mismatch(format!("the field '{}.{field}' must be a bool", self.name))
            }),
        }
    }

    fn document(&self, field: &str) -> Result<Option<&'a Document>, Fault> {
        match self.body.get(field) {
            None | Some(Bson::Null) => Ok(None),
            Some(Bson::Document(document)) => Ok(Some(document)),
            Some(_) => {
                Err(Fault::type_mismatch(format!("the field '{}.{field}' must be an object", self.name)))
            }
        }
    }
}

/// A number without a fraction, whatever its BSON type.
fn whole(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        #[expect(clippy::cast_possible_truncation, reason = "whole and far inside the range of i64")]
        Bson::Double(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
