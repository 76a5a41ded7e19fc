use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn header_has_length_type_flags_and_sequence() {
    let mut bytes = Vec::new();
    Message { kind: 0x0a01, flags: CREATE, payload: vec![1, 0, 0, 0, 9] }.write(NLM_F_ACK, 7, &mut bytes);
    assert_eq!(bytes, hex("15000000 010a 0504 07000000 00000000 01000000 09 000000"));
}

#[test]
fn refusal_carries_the_kernels_own_words() {
    // strace -xx -e trace=recvmsg tc qdisc add dev lo root nonsense
    let bytes = hex("4c000000 02000003 01000000 00000000 feffffff 34000000 24000506 01000000 00000000 \
         27000100 5370656369666965642071646973 63206b696e6420697320756e6b6e6f776e2e00 00");
    let events = parse(&bytes, &(1..=1)).unwrap();
    let [(1, Event::Refused { errno, explanation })] = &events[..] else { panic!("not one refusal") };
    assert_eq!(*errno, Errno::ENOENT);
    assert_eq!(explanation, "Specified qdisc kind is unknown.");
}

#[test]
fn answers_to_other_requests_are_dropped() {
    let bytes = hex("14000000 02000000 05000000 00000000 00000000");
    assert!(parse(&bytes, &(6..=9)).unwrap().is_empty());
    assert_eq!(parse(&bytes, &(5..=5)).unwrap().len(), 1);
}

#[test]
fn builder_and_reader_agree() {
    let inner = Builder::default().be32(2, 0xca05).string(1, "lo");
    let bytes = Builder::after(&[1, 0, 0, 0]).nest(4, &inner).be64(3, 9).bytes(6, b"xyz").finish();
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
