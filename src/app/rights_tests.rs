//! What a console says and does of actions that its user may not take.

use super::*;
use crate::app::event::Event;
use crate::app::popup::Popup;
use crate::app::testing::Console;

const WHO: &str = "system:serviceaccount:default:viewer";

/// The API server answers everything that was asked: yes where `allows` says so.
fn answered(console: &mut Console, allows: impl Fn(&Right) -> bool) -> Vec<String> {
    let mut asked = Vec::new();
    loop {
        let rights = std::mem::take(&mut console.reviewed);
        if rights.is_empty() {
            return asked;
        }
        asked.extend(rights.iter().map(ToString::to_string));
        let answers = rights.into_iter().map(|right| (right.clone(), Some(allows(&right)))).collect();
        console.happen(Event::Reviewed { who: Some(WHO.to_owned()), answers });
    }
}

fn said(console: &Console) -> String {
    console.state.notices.newest_first().next().map(|notice| notice.trouble.whole()).unwrap_or_default()
}

fn why_not(console: &Console, action: Action) -> Option<String> {
    let (binding, _) = console.state.keymap.binding(action, console.state.scopes()).unwrap();
    console.state.why_not(binding).map(Cow::into_owned)
}

#[test]
fn what_is_allowed_everywhere_is_asked_once_and_nothing_is_grey() {
    let mut console = Console::playground();
    console.with_delay().press("2");
    let asked = answered(&mut console, |_| true);
    assert!(asked.contains(&"patch networkchaos.chaos-mesh.org".to_owned()), "{asked:?}");
    assert!(asked.iter().all(|right| !right.contains("namespace")), "{asked:?}");
    assert_eq!((why_not(&console, Action::Pause), console.state.may_change_nothing()), (None, false));
    console.press("j k 1 2").wait(1_000);
    assert_eq!(answered(&mut console, |_| true), Vec::<String>::new(), "it is known");
    console.wait(6 * 60 * 1_000);
    assert!(!answered(&mut console, |_| true).is_empty(), "it is not believed for ever");
}

#[test]
fn what_is_not_known_is_no_reason() {
    let mut console = Console::playground();
    console.with_delay().press("2");
    assert_eq!(why_not(&console, Action::Pause), None);
    console.state.rights = Rights::default();
    let answers = std::mem::take(&mut console.reviewed).into_iter().map(|right| (right, None)).collect();
    console.happen(Event::Reviewed { who: None, answers });
    assert_eq!((why_not(&console, Action::Pause), console.state.may_change_nothing()), (None, false));
}

#[test]
fn who_has_one_namespace_may_do_everything_there() {
    let mut console = Console::playground();
    console.with_delay().press("2");
    let asked = answered(&mut console, |right| right.namespace.as_deref() == Some("default"));
    assert!(
        asked.contains(&"patch networkchaos.chaos-mesh.org in namespace default".to_owned()),
        "{asked:?}"
    );
    assert_eq!((why_not(&console, Action::Pause), console.state.may_change_nothing()), (None, false));
    let halt = why_not(&console, Action::Halt).unwrap();
    assert_eq!(halt, format!("{WHO} may not create halts.squall.dev"));
}

#[test]
fn who_may_only_look_is_told_before_anything_is_tried() {
    let mut console = Console::playground();
    console.with_delay().press("2");
    answered(&mut console, |_| false);
    assert!(console.state.may_change_nothing());
    let lacks = format!("{WHO} may not patch networkchaos.chaos-mesh.org in namespace default");
    for action in [Action::Pause, Action::TurnUp] {
        assert_eq!(why_not(&console, action).as_ref(), Some(&lacks), "{action:?}");
    }
    console.press("p");
    assert!(console.state.popup.is_none() && console.asked().is_empty());
    assert!(
        said(&console).starts_with(&lacks) && said(&console).contains("kubectl create role"),
        "{}",
        said(&console)
    );
    // It is asked again, so that what was granted meanwhile is known.
    answered(&mut console, |_| true);
    console.press("p");
    assert!(matches!(console.state.popup, Some(Popup::Confirm(_))));
}

#[test]
fn what_takes_faults_away_is_tried_all_the_same() {
    for (keys, right) in
        [("!", "create halts.squall.dev"), ("2 S", "delete networkchaos.chaos-mesh.org in namespace default")]
    {
        let mut console = Console::playground();
        console.with_delay().press("2");
        answered(&mut console, |_| false);
        console.press(keys);
        let Some(Popup::Confirm(question)) = &console.state.popup else { panic!("{keys} asks nothing") };
        let warning = format!("It will be refused: {WHO} may not {right}. Enter tries it all the same.");
        assert!(question.lines.iter().any(|line| line.text == warning), "{keys}: {:?}", question.lines);
        console.press("enter");
        assert!(matches!(console.asked().last(), Some(Effect::Do(_))), "{keys}");
    }
}

#[test]
fn a_read_only_console_asks_for_no_right_to_change() {
    let mut console = Console::playground();
    console.state.read_only = true;
    console.state.rights = Rights::default();
    console.reviewed.clear();
    console.press("2");
    assert!(console.reviewed.iter().all(|right| right.verb == "get"), "{:?}", console.reviewed);
}

#[test]
fn what_is_known_survives_a_recording() {
    let mut console = Console::playground();
    answered(&mut console, |right| right.verb == "get");
    let written = serde_json::to_string(&console.state.rights).unwrap();
    let read: Rights = serde_json::from_str(&written).unwrap();
    assert_eq!((read.known, read.who), (console.state.rights.known, console.state.rights.who));
}
