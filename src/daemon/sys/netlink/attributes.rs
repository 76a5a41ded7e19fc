//! Netlink attributes: length, type and value, padded to four bytes (`struct nlattr`, linux/netlink.h).

/// Set in the type of an attribute that holds attributes.
const NLA_F_NESTED: u16 = 0x8000;
/// The type without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const NLA_TYPE_MASK: u16 = 0x3fff;
/// Size of `struct nlattr`.
const HEADER: usize = 4;

/// Writes attributes. Netfilter wants its numbers in network byte order, so that these have methods of their own.
///
/// An attribute's length has 16 bits. Callers bound what they put in; one that is too long gets a length that
/// cannot be right, and the kernel refuses the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "the attributes written so far"]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// Starts with a family header, such as `struct nfgenmsg` or `struct tcmsg`.
    pub fn after(header: &[u8]) -> Self {
        Self { bytes: header.to_vec() }
    }

    /// Adds an attribute with these bytes.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a number of 32 bits in network byte order.
    pub fn be32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a number of 64 bits in network byte order.
    pub fn be64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a text and the NUL that ends it.
    pub fn string(self, kind: u16, value: &str) -> Self {
        let mut terminated = Vec::with_capacity(value.len() + 1);
        terminated.extend(value.as_bytes());
        terminated.push(0);
        self.bytes(kind, &terminated)
    }

    /// Adds an attribute that holds the attributes of `inner`.
    pub fn nest(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.bytes)
    }

    /// The same without a copy: `write` adds to what there is, and that becomes the attribute's value.
    pub fn within(mut self, kind: u16, write: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.bytes.extend([0; HEADER]);
        let mut written = write(self);
        // Every attribute is padded, so that nothing needs to be added behind.
        let length = u16::try_from(written.bytes.len().saturating_sub(start)).unwrap_or(u16::MAX);
        let header = written.bytes.iter_mut().skip(start);
        let values = length.to_ne_bytes().into_iter().chain((kind | NLA_F_NESTED).to_ne_bytes());
        header.zip(values).for_each(|(byte, value)| *byte = value);
        written
    }

    /// Number of bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads attributes one by one. Ends at the first that does not fit into what was received.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

/// One attribute as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Type, without flags.
    pub kind: u16,
    /// Value, without padding.
    pub value: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// Reads from bytes that begin with an attribute.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first attribute of a type.
    pub fn find(&self, kind: u16) -> Option<Attribute<'a>> {
        Iterator::find(&mut self.clone(), |attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(*self.rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.rest.get(2..)?.first_chunk()?) & NLA_TYPE_MASK;
        let value = self.rest.get(HEADER..length)?;
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

impl<'a> Attribute<'a> {
    /// The attributes in this one.
    pub fn nested(self) -> Attributes<'a> {
        Attributes::new(self.value)
    }

    /// A number of 32 bits in network byte order.
    pub fn be32(self) -> Option<u32> {
        Some(u32::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A number of 64 bits in network byte order.
    pub fn be64(self) -> Option<u64> {
        Some(u64::from_be_bytes(self.value.try_into().ok()?))
    }

    /// A text up to its NUL; bytes that are no UTF-8 are replaced.
    pub fn string(self) -> Option<String> {
        let text = self.value.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}
