//! Frames of the MongoDB wire protocol: bytes to requests, replies to bytes. No command is known here.
//!
//! Source: the "MongoDB Wire Protocol" page of the MongoDB manual and the `OP_MSG` specification of the driver
//! specifications. All integers are little-endian. Whatever arrives, the answer is a request or an error.

use bson::raw::RawDocument;
use bson::{Document, RawBsonRef, RawDocumentBuf};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest message, header included (`maxMessageSizeBytes` of mongod).
pub(crate) const MAX_MESSAGE: usize = 48_000_000;
/// Deepest nesting of documents (`BSONDepth::kDefaultMaxAllowableDepth` of mongod).
pub(crate) const MAX_DEPTH: usize = 200;

const HEADER: usize = 16;
const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;

const CHECKSUM_PRESENT: u32 = 1;
const MORE_TO_COME: u32 = 1 << 1;
/// Bits 0 to 15 of the flags must be understood; the others may be ignored.
const REQUIRED_FLAGS: u32 = 0xffff;

/// Why a connection cannot go on. After any of these the peer's next byte has no known meaning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    #[error("a message of {0} bytes; allowed are {HEADER} to {MAX_MESSAGE}")]
    Length(i32),
    #[error("operation code {0}; only OP_MSG and the OP_QUERY of old handshakes are served")]
    Operation(i32),
    #[error("the message ends early")]
    Truncated,
    #[error("unknown required flags {0:#x}")]
    Flags(u32),
    #[error("the checksum does not match")]
    Checksum,
    #[error("a section of kind {0}")]
    Section(u8),
    #[error("not exactly one body section")]
    Body,
    #[error("text that is not UTF-8 or has no end")]
    Text,
    #[error("malformed BSON: {0}")]
    Bson(#[from] bson::error::Error),
    #[error("documents nested more than {MAX_DEPTH} deep")]
    Depth,
}

/// What a peer sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// An HTTP request: somebody pointed a browser at the port.
    Http,
    /// A message, its body not yet looked into.
    Message { request_id: i32, operation: i32, payload: Vec<u8> },
}

/// Reads one frame; None when the peer is gone.
pub(crate) async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Option<Frame>, WireError> {
    let mut header = [0_u8; HEADER];
    match reader.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    if header.starts_with(b"GET ") {
        return Ok(Some(Frame::Http));
    }
    let mut fields = Input(&header);
    let (length, request_id, _response_to, operation) =
        (fields.i32()?, fields.i32()?, fields.i32()?, fields.i32()?);
    let expected = usize::try_from(length)
        .ok()
        .filter(|length| (HEADER..=MAX_MESSAGE).contains(length))
        .ok_or(WireError::Length(length))?
        - HEADER;
    // Memory is taken as bytes arrive, not as the header promises.
    let mut payload = Vec::new();
    reader.take(expected as u64).read_to_end(&mut payload).await?;
    if payload.len() < expected {
        return Ok(None);
    }
    Ok(Some(Frame::Message { request_id, operation, payload }))
}

/// A command with what came beside it.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) id: i32,
    pub(crate) body: Document,
    /// Document sequences by their name, `documents` for an insert.
    pub(crate) sequences: Vec<(String, Vec<RawDocumentBuf>)>,
    pub(crate) form: Form,
}

/// How the request came, which decides how the reply goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// `OP_MSG`.
    Message,
    /// `OP_MSG` whose sender waits for no reply.
    NoReply,
    /// The legacy `OP_QUERY`, on this namespace.
    Query(String),
}

impl Request {
    /// Looks into a message.
    pub(crate) fn parse(id: i32, operation: i32, payload: &[u8]) -> Result<Self, WireError> {
        match operation {
            OP_MSG => Self::parse_message(id, payload),
            OP_QUERY => Self::parse_query(id, payload),
            other => Err(WireError::Operation(other)),
        }
    }

    fn parse_message(id: i32, payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input(payload);
        let flags = input.u32()?;
        let unknown = flags & REQUIRED_FLAGS & !(CHECKSUM_PRESENT | MORE_TO_COME);
        if unknown != 0 {
            return Err(WireError::Flags(unknown));
        }
        if flags & CHECKSUM_PRESENT != 0 {
            input = Input(checked(id, input.0, payload)?);
        }
        let mut body = None;
        let mut sequences = Vec::new();
        while !input.0.is_empty() {
            match input.u8()? {
                0 if body.is_none() => body = Some(Document::try_from(input.document()?)?),
                0 => return Err(WireError::Body),
                1 => sequences.push(input.sequence()?),
                kind => return Err(WireError::Section(kind)),
            }
        }
        let form = if flags & MORE_TO_COME == 0 { Form::Message } else { Form::NoReply };
        Ok(Self { id, body: body.ok_or(WireError::Body)?, sequences, form })
    }

    fn parse_query(id: i32, payload: &[u8]) -> Result<Self, WireError> {
        let mut input = Input(payload);
        let _flags = input.u32()?;
        let namespace = input.text()?;
        let (_skip, _return) = (input.i32()?, input.i32()?);
        let body = Document::try_from(input.document()?)?;
        Ok(Self { id, body, sequences: Vec::new(), form: Form::Query(namespace) })
    }
}

/// The sections without their checksum, a CRC-32C over the whole message, header included.
fn checked<'a>(id: i32, sections: &'a [u8], payload: &[u8]) -> Result<&'a [u8], WireError> {
    let (sections, checksum) = sections.split_last_chunk::<4>().ok_or(WireError::Truncated)?;
    let covered = payload.split_last_chunk::<4>().ok_or(WireError::Truncated)?.0;
    // A request's "response to" is 0.
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header(HEADER + payload.len(), id, 0, OP_MSG)), covered);
    if crc == u32::from_le_bytes(*checksum) { Ok(sections) } else { Err(WireError::Checksum) }
}

/// The bytes of a reply to `request`, or None when it wants none.
pub(crate) fn reply(request: &Request, reply_id: i32, document: &RawDocumentBuf) -> Option<Vec<u8>> {
    let document = document.as_bytes();
    let (operation, prefix) = match request.form {
        Form::NoReply => return None,
        // No flags; one section of kind 0.
        Form::Message => (OP_MSG, vec![0; 5]),
        Form::Query(_) => {
            let mut prefix = 8_u32.to_le_bytes().to_vec(); // AwaitCapable, set by every server
            prefix.extend([0; 12]); // no cursor, starting from document 0
            prefix.extend(1_i32.to_le_bytes());
            (OP_REPLY, prefix)
        }
    };
    let mut bytes = header(HEADER + prefix.len() + document.len(), reply_id, request.id, operation).to_vec();
    bytes.extend(prefix);
    bytes.extend_from_slice(document);
    Some(bytes)
}

fn header(length: usize, id: i32, response_to: i32, operation: i32) -> [u8; HEADER] {
    // Messages are far below 2 GiB: requests by MAX_MESSAGE, replies by the size of a cursor's batch.
    let length = i32::try_from(length).unwrap_or(i32::MAX);
    let mut header = [0; HEADER];
    for (bytes, value) in header.chunks_exact_mut(4).zip([length, id, response_to, operation]) {
        bytes.copy_from_slice(&value.to_le_bytes());
    }
    header
}

/// Bytes not yet read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn i32(&mut self) -> Result<i32, WireError> {
        self.array().map(i32::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A text that ends with a zero byte.
    fn text(&mut self) -> Result<String, WireError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(WireError::Text)?;
        let text = self.take(end)?.to_vec();
        self.u8()?;
        String::from_utf8(text).map_err(|_not_utf8| WireError::Text)
    }

    /// A document whose every value has been looked at.
    fn document(&mut self) -> Result<&'a RawDocument, WireError> {
        let length = Input(self.0).i32()?;
        let bytes = self.take(usize::try_from(length).map_err(|_negative| WireError::Truncated)?)?;
        let document = RawDocument::from_bytes(bytes)?;
        validate(document, MAX_DEPTH)?;
        Ok(document)
    }

    /// The rest of a section of kind 1: size, name, documents.
    fn sequence(&mut self) -> Result<(String, Vec<RawDocumentBuf>), WireError> {
        let size = usize::try_from(self.i32()?).ok().and_then(|size| size.checked_sub(4));
        let mut section = Input(self.take(size.ok_or(WireError::Truncated)?)?);
        let name = section.text()?;
        let mut documents = Vec::new();
        while !section.0.is_empty() {
            documents.push(section.document()?.to_owned());
        }
        Ok((name, documents))
    }
}

/// Checks that every value of a document can be read, so that later code meets no malformed one, and that it
/// is not so deep that reading it would overflow the stack.
pub(crate) fn validate(document: &RawDocument, depth: usize) -> Result<(), WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError::Depth)?;
    document.iter().try_for_each(|element| validate_value(element?.1, depth))
}

fn validate_value(value: RawBsonRef<'_>, depth: usize) -> Result<(), WireError> {
    match value {
        RawBsonRef::Document(inner) => validate(inner, depth),
        RawBsonRef::Array(inner) => {
            let depth = depth.checked_sub(1).ok_or(WireError::Depth)?;
            inner.into_iter().try_for_each(|item| validate_value(item?, depth))
        }
        RawBsonRef::JavaScriptCodeWithScope(code) => validate(code.scope, depth),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
