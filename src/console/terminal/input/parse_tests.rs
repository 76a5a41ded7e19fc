use super::*;

fn parse(bytes: &[u8]) -> Vec<Event> {
    let (mut parser, mut events) = (Parser::default(), VecDeque::new());
    parser.advance(bytes, &mut events);
    parser.give_up(&mut events);
    events.into()
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
const ALT: KeyModifiers = KeyModifiers::ALT;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

/// What terminals send. Without a note it is what xterm sends.
fn keys() -> Vec<(&'static [u8], KeyCode, KeyModifiers)> {
    vec![
        (b"a", KeyCode::Char('a'), NONE),
        (b"A", KeyCode::Char('A'), SHIFT),
        (b":", KeyCode::Char(':'), NONE),
        ("é".as_bytes(), KeyCode::Char('é'), NONE),
        ("日".as_bytes(), KeyCode::Char('日'), NONE),
        ("🦀".as_bytes(), KeyCode::Char('🦀'), NONE),
        (b"\r", KeyCode::Enter, NONE),
        (b"\n", KeyCode::Char('j'), CONTROL),
        (b"\t", KeyCode::Tab, NONE),
        (b"\x7f", KeyCode::Backspace, NONE),
        (b"\x1b", KeyCode::Esc, NONE),
        (b"\0", KeyCode::Char(' '), CONTROL),
        (b"\x03", KeyCode::Char('c'), CONTROL),
        (b"\x1a", KeyCode::Char('z'), CONTROL),
        (b"\x1f", KeyCode::Char('7'), CONTROL),
        (b"\x1bx", KeyCode::Char('x'), ALT),
        (b"\x1bX", KeyCode::Char('X'), KeyModifiers::from_bits_truncate(ALT.bits() | SHIFT.bits())),
        (b"\x1b\r", KeyCode::Enter, ALT),
        (b"\x1b[", KeyCode::Char('['), ALT),
        ("\x1bé".as_bytes(), KeyCode::Char('é'), ALT),
        (b"\x1b[A", KeyCode::Up, NONE),
        (b"\x1bOB", KeyCode::Down, NONE),
        (b"\x1b[1;5C", KeyCode::Right, CONTROL),
        (b"\x1b[1;2D", KeyCode::Left, SHIFT),
        (b"\x1b[Z", KeyCode::BackTab, SHIFT),
        (b"\x1b[H", KeyCode::Home, NONE),
        (b"\x1b[1~", KeyCode::Home, NONE),
        // rxvt
        (b"\x1b[8~", KeyCode::End, NONE),
        (b"\x1b[2~", KeyCode::Insert, NONE),
        (b"\x1b[3;3~", KeyCode::Delete, ALT),
        (b"\x1b[5~", KeyCode::PageUp, NONE),
        (b"\x1bOP", KeyCode::F(1), NONE),
        (b"\x1b[1;2S", KeyCode::F(4), SHIFT),
        // the Linux console
        (b"\x1b[[E", KeyCode::F(5), NONE),
        (b"\x1b[15~", KeyCode::F(5), NONE),
        (b"\x1b[17~", KeyCode::F(6), NONE),
        (b"\x1b[24;5~", KeyCode::F(12), CONTROL),
        // xterm with modifyOtherKeys and formatOtherKeys, kitty
        (b"\x1b[105;5u", KeyCode::Char('i'), CONTROL),
        (b"\x1b[27u", KeyCode::Esc, NONE),
    ]
}

#[test]
fn keys_are_known_by_their_bytes() {
    for (bytes, code, modifiers) in keys() {
        assert_eq!(parse(bytes), [key(code, modifiers)], "{}", bytes.escape_ascii());
    }
}

#[test]
fn pieces_of_any_size_mean_the_same() {
    let keys: Vec<_> =
        keys().into_iter().filter(|(bytes, ..)| !matches!(bytes, [ESC] | [ESC, b'['])).collect();
    let bytes: Vec<u8> = keys.iter().flat_map(|(bytes, ..)| bytes.iter().copied()).collect();
    let text = "long enough to be cut in its middle, \x1b[20 included";
    let bytes = [bytes.as_slice(), b"\x1b[200~", text.as_bytes(), PASTE_END, b"\x1b[<0;5;7M"].concat();
    let whole = parse(&bytes);
    assert_eq!(whole.len(), keys.len() + 2);
    assert!(whole.contains(&Event::Paste(text.to_owned())), "{whole:?}");
    for size in 1..40 {
        let (mut parser, mut events) = (Parser::default(), VecDeque::new());
        for piece in bytes.chunks(size) {
            parser.advance(piece, &mut events);
        }
        assert_eq!(parser.unfinished(), Unfinished::Nothing, "in pieces of {size}");
        assert_eq!(Vec::from(events), whole, "in pieces of {size}");
    }
}

#[test]
fn the_mouse_reports_buttons_and_wheel() {
    let at = |kind, column, row, modifiers| Event::Mouse(MouseEvent { kind, column, row, modifiers });
    for (bytes, expected) in [
        ("\x1b[<0;1;1M", at(MouseEventKind::Down(MouseButton::Left), 0, 0, NONE)),
        ("\x1b[<0;300;99m", at(MouseEventKind::Up(MouseButton::Left), 299, 98, NONE)),
        ("\x1b[<18;2;3M", at(MouseEventKind::Down(MouseButton::Right), 1, 2, CONTROL)),
        ("\x1b[<32;4;4M", at(MouseEventKind::Drag(MouseButton::Left), 3, 3, NONE)),
        ("\x1b[<35;4;4M", at(MouseEventKind::Moved, 3, 3, NONE)),
        ("\x1b[<64;1;1M", at(MouseEventKind::ScrollUp, 0, 0, NONE)),
        ("\x1b[<69;1;1M", at(MouseEventKind::ScrollDown, 0, 0, SHIFT)),
    ] {
        assert_eq!(parse(bytes.as_bytes()), [expected], "{}", bytes.escape_default());
    }
}

#[test]
fn what_is_not_known_is_skipped_and_nothing_after_it() {
    for bytes in [
        "\x1b[?62;1;4c".as_bytes(),
        b"\x1b[99~",
        b"\x1bOz",
        b"\x1b[<0;1M",
        b"\x1b[1;5\x1b[I",
        b"\xff",
        b"\xc3(",
        b"\xe2\x28\xa1",
        b"\x1b[I\x1b[O",
    ] {
        let events = parse(&[bytes, b"q"].concat());
        assert_eq!(events.last(), Some(&key(KeyCode::Char('q'), NONE)), "{}", bytes.escape_ascii());
    }
    assert_eq!(parse(b"\x1b[I\x1b[O"), [Event::FocusGained, Event::FocusLost]);
    assert_eq!(parse(b"\x1b\x1b"), [key(KeyCode::Esc, NONE), key(KeyCode::Esc, NONE)]);
    let endless = [b"\x1b[".as_slice(), &b"1;".repeat(SEQUENCE), b"q"].concat();
    assert!(Parser::default().bytes.is_empty() && parse(&endless).len() <= 1, "no sequence is that long");
}

#[test]
fn a_paste_has_a_limit_and_an_end() {
    let (mut parser, mut events) = (Parser::default(), VecDeque::new());
    parser.advance(b"\x1b[200~", &mut events);
    for _ in 0..3 {
        parser.advance(&vec![b'x'; PASTE], &mut events);
        let kept = parser.paste.as_ref().unwrap().len();
        assert!(kept <= PASTE + PASTE_END.len(), "it keeps {kept} bytes");
    }
    parser.advance(b"\x1b[201~q", &mut events);
    let events = Vec::from(events);
    assert!(matches!(&events[0], Event::Paste(text) if text.len() == PASTE), "the text is not cut");
    assert_eq!(events[1..], [key(KeyCode::Char('q'), NONE)]);
    assert_eq!(parse(b"\x1b[200~no end"), [Event::Paste("no end".to_owned())]);
}
