use proptest::prelude::*;

use super::super::hex::unhex;
use super::*;

#[test]
fn header_has_length_type_flags_and_sequence() {
    let mut bytes = Vec::new();
    Message { kind: 0x0a01, flags: CREATE, payload: vec![1, 0, 0, 0, 9] }.write(NLM_F_ACK, 7, &mut bytes);
    assert_eq!(bytes, unhex("15000000 010a 0504 07000000 00000000 01000000 09 000000"));
}

// The kernel's answers to a discipline of the kind "nonsense", Linux 6.18.
#[test]
fn refusal_carries_the_kernels_own_words() {
    // Our options, request with sequence number 1: only the request's header comes back.
    let capped = "48000000 02000003 01000000 30070000 feffffff 34000000 24000506 01000000 00000000 \
        24000100 537065636966696564207164697363206b696e6420697320756e6b6e6f776e00";
    // strace -e trace=recvmsg -e read=3 tc qdisc add dev lo root nonsense: without NETLINK_CAP_ACK all of it does
    let whole = "6c000000 02000002 c6c9026b 9e630000 feffffff 34000000 24000506 c6c9026b 00000000 \
        00000000 01000000 00000000 ffffffff 00000000 0d000100 6e6f6e73 656e7365 00000000 \
        24000100 537065636966696564207164697363206b696e6420697320756e6b6e6f776e00";
    for (bytes, awaited) in [(capped, 1), (whole, 0x6b02_c9c6)] {
        let events = parse(&unhex(bytes), &(awaited..=awaited)).unwrap();
        let [(_, Event::Refused { errno, explanation })] = &events[..] else { panic!("not one refusal") };
        assert_eq!(*errno, Errno::ENOENT);
        assert_eq!(explanation, "Specified qdisc kind is unknown");
    }
}

#[test]
fn dump_ends_with_an_error_number() {
    let done = |number: i32, flags: u16| {
        let mut bytes = unhex("14000000 0300");
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(unhex("01000000 00000000"));
        bytes.extend(number.to_ne_bytes());
        parse(&bytes, &(1..=1)).unwrap().remove(0).1
    };
    assert!(matches!(done(0, 2), Event::Done { interrupted: false }));
    assert!(matches!(done(0, 2 | NLM_F_DUMP_INTR), Event::Done { interrupted: true }));
    assert!(matches!(done(-libc::ENOENT, 2), Event::Refused { errno: Errno::ENOENT, .. }));
}

#[test]
fn a_request_that_is_too_large_is_not_sent() {
    let mut socket = Socket::open(Protocol::Route).unwrap();
    socket.send_limit = 64;
    let message = Message { kind: 36, flags: 0, payload: vec![0; 100] };
    let error = socket.request("try", &message).unwrap_err();
    assert!(matches!(error, NetlinkError::TooLarge { bytes: 116, limit: 64, .. }), "{error}");
}

#[test]
fn a_dump_is_read_to_its_end_and_the_socket_can_go_on() {
    let mut socket = Socket::open(Protocol::Route).unwrap();
    let links = Message { kind: 18, flags: 0, payload: vec![0; 16] }; // RTM_GETLINK, struct ifinfomsg
    for _ in 0..3 {
        let replies = socket.dump("list links", &links).unwrap();
        assert!(replies.iter().any(|reply| {
            reply.attributes(16).find(3).and_then(Attribute::string).as_deref() == Some("lo") // IFLA_IFNAME
        }));
        let nonsense = Message { kind: 18, flags: 0, payload: vec![0xff; 16] };
        assert!(socket.request("ask for no link", &nonsense).unwrap_err().errno().is_some());
    }
}

#[test]
fn answers_to_other_requests_are_dropped() {
    let bytes = unhex("14000000 02000000 05000000 00000000 00000000");
    assert!(parse(&bytes, &(6..=9)).unwrap().is_empty());
    assert_eq!(parse(&bytes, &(5..=5)).unwrap().len(), 1);
}

#[test]
fn builder_and_reader_agree() {
    let inner = Builder::default().be32(2, 0xca05).string(1, "lo");
    let bytes = Builder::after(&[1, 0, 0, 0]).nest(4, &inner).be64(3, 9).bytes(6, b"xyz").finish();
    let within = Builder::after(&[1, 0, 0, 0]).within(4, |list| list.bytes(0, &[]));
    assert_eq!(within, Builder::after(&[1, 0, 0, 0]).nest(4, &Builder::default().bytes(0, &[])));
    let reply = Reply { kind: 0, payload: bytes };
    let attributes = reply.attributes(4);
    let nested = attributes.find(4).unwrap().nested();
    assert_eq!(nested.find(2).unwrap().be32(), Some(0xca05));
    assert_eq!(nested.find(1).unwrap().string().as_deref(), Some("lo"));
    assert_eq!(attributes.find(3).unwrap().be64(), Some(9));
    assert_eq!(attributes.find(6).unwrap().value, b"xyz");
    assert_eq!(attributes.find(9), None);
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(events) = parse(&bytes, &(0..=u32::MAX)) {
            let held: usize = events.len() * HEADER;
            prop_assert!(held <= bytes.len(), "{} messages out of {} bytes", events.len(), bytes.len());
        }
    }

    #[test]
    fn no_attributes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let total: usize = Attributes::new(&bytes).map(|attribute| attribute.value.len() + 4).sum();
        prop_assert!(total <= bytes.len());
    }
}
