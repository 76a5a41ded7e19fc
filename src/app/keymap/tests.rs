use super::*;

#[test]
fn no_key_has_two_meanings_and_every_key_can_be_read() {
    assert!(Keymap::with(&BTreeMap::new()).is_ok(), "{:?}", Keymap::with(&BTreeMap::new()).err());
    assert_eq!(Keymap::default().rows().count(), BINDINGS.len());
}

#[test]
fn sequences_wait_for_their_end() {
    let keymap = Keymap::default();
    let scopes = [Scope::Cluster, Scope::List, Scope::Global];
    let look = |text: &str| keymap.lookup(&Key::sequence(text).unwrap(), &scopes);
    assert_eq!(look("j"), Lookup::Action(Action::Down));
    assert_eq!(look("g"), Lookup::Pending);
    assert_eq!(look("g g"), Lookup::Action(Action::First));
    assert_eq!(look("g e"), Lookup::Action(Action::Experiments));
    assert_eq!(look("g z"), Lookup::Nothing);
    assert_eq!(look("p"), Lookup::Nothing, "of another screen");
    let pending = Key::sequence("g").unwrap();
    assert!(keymap.continuations(&pending, &scopes).count() > 5);
}

#[test]
fn own_keys_take_the_place_of_the_tables() {
    let own = |name: &str, key: &str| BTreeMap::from([(name.to_owned(), vec![key.to_owned()])]);
    let keymap = Keymap::with(&own("halt", "ctrl-x ctrl-x")).unwrap();
    let scopes = [Scope::Global];
    assert_eq!(keymap.lookup(&[Key::char('!')], &scopes), Lookup::Nothing);
    assert_eq!(keymap.lookup(&[Key::ctrl('x'), Key::ctrl('x')], &scopes), Lookup::Action(Action::Halt));
    for (name, key, expected) in [
        ("explode", "x", "keys: there is no action \"explode\"; `squall keys` lists them"),
        ("halt", "hyper-x", "keys: halt"),
        ("halt", "q", "keys: \"q\" would do both quit and halt"),
        ("halt", "g", "keys: \"g\" would do both halt and release"),
    ] {
        let error = Keymap::with(&own(name, key)).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{name} {key}");
    }
}

#[test]
fn each_row_says_what_it_does_and_fits_a_footer() {
    for binding in BINDINGS {
        assert!(!binding.help.is_empty() && !binding.keys.is_empty(), "{:?}", binding.action);
        assert_eq!(binding.footer == 0, binding.short.is_empty(), "{:?}", binding.action);
        assert!(binding.short.len() <= 12, "{:?}", binding.action);
        assert_eq!(Action::named(&binding.action.name()), Some(binding.action));
    }
}

#[test]
fn everything_that_can_be_done_has_a_key() {
    for action in Action::ALL {
        assert!(BINDINGS.iter().any(|binding| binding.action == *action), "{action:?}");
    }
}

#[test]
fn what_harms_is_marked_wherever_it_has_a_key() {
    use Action::{Halt, Launch, Pause, Resume, Stop, TurnDown, TurnUp};
    for binding in BINDINGS.iter().filter(|binding| binding.scope != Scope::Popup) {
        let harms = matches!(binding.action, Halt | Launch | Pause | Resume | Stop | TurnUp | TurnDown);
        assert_eq!(binding.effect == Effect::Dangerous, harms, "{:?}", binding.action);
    }
}
