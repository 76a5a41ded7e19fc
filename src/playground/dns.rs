//! The name server of the sandbox: A records of Services, over UDP and TCP.
//!
//! It forwards nothing: a name that is not in the cluster does not exist here, as nothing outside can be reached.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::network::NAME_SERVER;

/// Answers may be kept so long, in seconds: `CoreDNS`' value for Services.
const TTL: u32 = 5;
/// A TCP connection that asks nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// TCP connections at a time.
const CONNECTIONS: usize = 64;
/// The largest UDP answer that is sent whole (RFC 9715).
const UDP_PAYLOAD: u16 = 1232;
/// The zone that this server is responsible for.
const ZONE: &str = "cluster.local.";

/// Every name there is, in lower case with its final dot.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) addresses: HashMap<String, Vec<Ipv4Addr>>,
}

impl Records {
    /// The addresses of a name; `None` if there is no such name.
    fn find(&self, name: &str) -> Option<&[Ipv4Addr]> {
        let found = self.addresses.get(name).map(Vec::as_slice);
        // A name above others exists, too; it only has no records (RFC 8020).
        let above =
            || self.addresses.keys().any(|key| key.strip_suffix(name).is_some_and(|k| k.ends_with('.')));
        found.or_else(|| above().then_some(&[]))
    }
}

/// The sockets of the name server.
pub(super) struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Server {
    /// Opens the sockets.
    pub(super) async fn bind() -> io::Result<Self> {
        let address = SocketAddr::from((NAME_SERVER, 53));
        Ok(Self { udp: UdpSocket::bind(address).await?, tcp: TcpListener::bind(address).await? })
    }

    /// Answers until the future is dropped.
    pub(super) async fn run(self, records: watch::Receiver<Arc<Records>>) {
        tokio::join!(serve_udp(self.udp, records.clone()), serve_tcp(self.tcp, records));
    }
}

async fn serve_udp(socket: UdpSocket, records: watch::Receiver<Arc<Records>>) {
    let mut buffer = [0; 4096];
    while let Some((count, peer)) = received(&socket, &mut buffer).await {
        let records = Arc::clone(&records.borrow());
        let Some(answer) = buffer.get(..count).and_then(|request| answer(request, &records, true)) else {
            continue;
        };
        if let Err(error) = socket.send_to(&answer, peer).await {
            tracing::debug!(%error, %peer, "cannot answer a DNS query");
        }
    }
}

/// The next query. An error belongs to an earlier answer that a peer refused (udp(7)).
async fn received(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer).await {
            Ok(received) => return Some(received),
            Err(error) => {
                tracing::debug!(%error, "a DNS answer was refused");
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn serve_tcp(listener: TcpListener, records: watch::Receiver<Arc<Records>>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the name server cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let records = records.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_stream(stream, records).await {
                tracing::debug!(%error, "a DNS connection ended");
            }
            drop(slot);
        });
    }
}

/// Messages with a length in front (RFC 1035, section 4.2.2).
async fn serve_stream(mut stream: TcpStream, records: watch::Receiver<Arc<Records>>) -> io::Result<()> {
    loop {
        let length = timeout(IDLE, stream.read_u16()).await??;
        let mut request = vec![0; length.into()];
        timeout(IDLE, stream.read_exact(&mut request)).await??;
        let records = Arc::clone(&records.borrow());
        let Some(answer) = answer(&request, &records, false) else { return Ok(()) };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

/// The answer to a request; `None` to one that deserves none.
fn answer(request: &[u8], records: &Records, udp: bool) -> Option<Vec<u8>> {
    let request = Message::from_vec(request).ok()?;
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        response.set_edns(edns);
    }
    response.metadata.response_code = match (request.metadata.op_code, request.queries.as_slice()) {
        (OpCode::Query, [query]) => {
            response.add_query(query.clone());
            resolve(query, records, &mut response)
        }
        (OpCode::Query, _) => ResponseCode::FormErr,
        _ => ResponseCode::NotImp,
    };
    let encoded = response.to_vec().ok()?;
    if udp && encoded.len() > usize::from(request.max_payload().min(UDP_PAYLOAD)) {
        return response.truncate().to_vec().ok();
    }
    Some(encoded)
}

fn resolve(query: &Query, records: &Records, response: &mut Message) -> ResponseCode {
    let found = records.find(&query.name().to_lowercase().to_utf8());
    response.metadata.authoritative = true;
    let wanted = matches!(query.query_type(), RecordType::A | RecordType::ANY);
    let in_class = matches!(query.query_class(), DNSClass::IN | DNSClass::ANY);
    if let (Some(addresses), true) = (found, wanted && in_class) {
        for address in addresses {
            response.add_answer(Record::from_rdata(query.name().clone(), TTL, RData::A(A(*address))));
        }
    }
    if response.answers.is_empty()
        && let Some(record) = authority()
    {
        // Tells how long the absence may be remembered (RFC 2308).
        response.add_authority(record);
    }
    if found.is_some() { ResponseCode::NoError } else { ResponseCode::NXDomain }
}

fn authority() -> Option<Record> {
    let zone = Name::from_ascii(ZONE).ok()?;
    let server = Name::from_ascii("ns.dns.cluster.local.").ok()?;
    let mailbox = Name::from_ascii("hostmaster.cluster.local.").ok()?;
    Some(Record::from_rdata(zone, TTL, RData::SOA(SOA::new(server, mailbox, 1, 7200, 1800, 86400, TTL))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Records {
        let many = (1..=100).map(|host| Ipv4Addr::new(10, 244, 1, host)).collect();
        let addresses = HashMap::from([
            ("mongo.default.svc.cluster.local.".to_owned(), vec![Ipv4Addr::new(10, 96, 1, 1)]),
            ("many.default.svc.cluster.local.".to_owned(), many),
        ]);
        Records { addresses }
    }

    fn ask(name: &str, kind: RecordType, udp: bool) -> Message {
        let mut request = Message::query();
        request.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        Message::from_vec(&answer(&request.to_vec().unwrap(), &records(), udp).unwrap()).unwrap()
    }

    #[test]
    fn names_types_and_absence() {
        use RecordType::{A, AAAA, TXT};
        let cases = [
            ("mongo.default.svc.cluster.local.", A, ResponseCode::NoError, 1),
            ("MONGO.default.SVC.cluster.local.", A, ResponseCode::NoError, 1),
            ("mongo.default.svc.cluster.local.", AAAA, ResponseCode::NoError, 0),
            ("mongo.default.svc.cluster.local.", TXT, ResponseCode::NoError, 0),
            ("default.svc.cluster.local.", A, ResponseCode::NoError, 0),
            ("ongo.default.svc.cluster.local.", A, ResponseCode::NXDomain, 0),
            ("other.default.svc.cluster.local.", A, ResponseCode::NXDomain, 0),
            ("mongo.svc.cluster.local.", A, ResponseCode::NXDomain, 0),
            ("mongo.", A, ResponseCode::NXDomain, 0),
        ];
        for (name, kind, code, count) in cases {
            let response = ask(name, kind, true);
            let found = (response.metadata.response_code, response.answers.len());
            assert_eq!(found, (code, count), "{name} {kind}");
            assert_eq!(response.authorities.is_empty(), count > 0, "{name} {kind}: SOA only with absence");
        }
    }

    #[test]
    fn long_answers_are_cut_on_udp_only() {
        let name = "many.default.svc.cluster.local.";
        assert!(ask(name, RecordType::A, true).metadata.truncation);
        let whole = ask(name, RecordType::A, false);
        assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 100));
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        assert_eq!(answer(b"", &records(), true), None);
        assert_eq!(answer(&[0xff; 12], &records(), true), None);
        let response = Message::response(1, OpCode::Query).to_vec().unwrap();
        assert_eq!(answer(&response, &records(), true), None, "answering answers is a loop");
    }
}
