use crate::app::editor::{Grade, Mode, Origin, Preview, Problem};
use crate::app::effect::{Deed, Effect, Request, Slot};
use crate::app::event::{Event, Loaded};
use crate::app::popup::Popup;
use crate::app::screens::Screen;
use crate::app::testing::Console;
use crate::report::Trouble;
use crate::report::plan::Report;

fn said(console: &Console) -> String {
    let notice = console.state.notices.shown(console.state.now);
    notice.map(|notice| notice.trouble.to_string()).unwrap_or_default()
}

/// A report of this experiment on two pods.
fn report() -> Report {
    let target =
        |pod: &str| serde_json::json!({"pod": pod, "selectorKey": ".", "addresses": [], "changes": []});
    serde_json::from_value(serde_json::json!({
        "experiment": "networkchaos.chaos-mesh.org/network-delay", "namespace": "default", "action": "delay",
        "verdict": "runs", "oneShot": false, "duration": "1m", "excluded": [], "conflicts": [], "effect": [],
        "nodes": [{"node": "machine2", "targets": [target("default/server-app-1"), target("default/mongo-1")]}],
        "warnings": ["the kubelet may restart it"], "problems": [],
    }))
    .unwrap()
}

/// The number of the request for this slot that was asked for last.
fn ticket(console: &Console, wanted: Slot) -> u64 {
    let asked = console.effects.iter().rev().find_map(|effect| match effect {
        Effect::Load { slot, ticket, .. } if *slot == wanted => Some(*ticket),
        _ => None,
    });
    asked.unwrap_or_else(|| panic!("nothing was asked for {wanted:?}: {:?}", console.effects))
}

fn on_line(console: &mut Console, start: &str) {
    let row = console.state.editor.buffer.lines().iter().position(|line| line.starts_with(start)).unwrap();
    let column = console.state.editor.buffer.line(row).chars().count();
    console.state.editor.buffer.jump((row, column));
}

fn problems(console: &Console) -> Vec<String> {
    console.state.editor.problems.iter().map(Problem::line).collect()
}

#[test]
fn a_template_is_broken_mended_and_launched() {
    let mut console = Console::playground();
    console.press("3 enter");
    assert_eq!((console.state.screen, console.state.editor.mode), (Screen::Editor, Mode::Typing));
    assert!(problems(&console).is_empty() && !console.state.editor.unsaved);
    on_line(&mut console, "  action:");
    console.press("backspace");
    let line = console.state.editor.buffer.cursor().0 + 1;
    let found = problems(&console);
    assert!(found[0].starts_with(&format!("{line}:11 spec.action: ")), "{found:?}");
    console.press("f5");
    assert!(said(&console).contains(&found[0]) && console.state.popup.is_none());
    console.press("end y");
    assert!(problems(&console).is_empty(), "{:?}", problems(&console));
    console.press("f5");
    console.answer(Ok(Loaded::Plan { text: console.state.editor.buffer.text(), reports: vec![report()] }));
    let Some(Popup::Confirm(confirm)) = &console.state.popup else { panic!("no question") };
    assert_eq!(confirm.targets, 2);
    console.press("enter");
    assert!(
        matches!(console.asked().last(), Some(Effect::Do(Deed::Apply { text, .. })) if text.contains("network-delay"))
    );
}

#[test]
fn the_preview_is_asked_for_when_typing_pauses_and_old_answers_are_passed_over() {
    let mut console = Console::playground();
    console.press("3 enter").asked();
    assert!(console.state.next_wake() <= console.state.now + crate::app::editor::CALM);
    console.wait(300);
    let first = ticket(&console, Slot::Preview);
    on_line(&mut console, "  duration:");
    console.press("backspace");
    console.happen(Event::Loaded {
        slot: Slot::Preview,
        ticket: first,
        outcome: Ok(Loaded::Plan { text: String::new(), reports: vec![report()] }),
    });
    assert_eq!(console.state.editor.preview, Preview::Unknown, "of a text that is not there any more");
    console.press("m").asked();
    console.wait(100);
    assert!(console.asked().is_empty(), "typing has not paused");
    console.wait(200);
    let second = ticket(&console, Slot::Preview);
    let outcome = Ok(Loaded::Plan { text: String::new(), reports: vec![report()] });
    console.happen(Event::Loaded { slot: Slot::Preview, ticket: second, outcome });
    assert!(matches!(&console.state.editor.preview, Preview::Ready(reports) if reports.len() == 1));
    let warning = &console.state.editor.problems[0];
    assert_eq!((warning.grade, warning.what.as_str()), (Grade::Warning, "the kubelet may restart it"));
    assert!(console.state.editor.buffer.line(warning.at.0 - 1).contains("name: network-delay"));
    console.press("x").wait(400);
    let third = ticket(&console, Slot::Preview);
    let outcome = Err(Trouble::new("no route"));
    console.happen(Event::Loaded { slot: Slot::Preview, ticket: third, outcome });
    assert!(matches!(console.state.editor.preview, Preview::Failed(_)) || !problems(&console).is_empty());
}

#[test]
fn completion_narrows_while_typing_and_is_written_at_its_place() {
    let mut console = Console::playground();
    console.press("3 enter");
    on_line(&mut console, "  duration:");
    console.press("enter d tab");
    assert!(!console.state.editor.buffer.line(console.state.editor.buffer.cursor().0).contains("duration"));
    console.press("esc backspace").type_text("los").press("tab");
    let (row, column) = console.state.editor.buffer.cursor();
    assert_eq!((console.state.editor.buffer.line(row - 1), column), ("  loss:", 4), "with its level opened");
    let mut console = Console::playground();
    console.press("3 enter");
    on_line(&mut console, "  mode:");
    console.press("backspace backspace backspace ctrl-space down down");
    let offer = console.state.editor.offer.clone().unwrap();
    let wanted = offer.candidates[2].label.clone();
    console.press("enter");
    let (row, _) = console.state.editor.buffer.cursor();
    assert_eq!(console.state.editor.buffer.line(row), format!("  mode: {wanted}"));
}

#[test]
fn keys_that_type_are_typed_and_a_paste_is_one() {
    let mut console = Console::playground();
    console.press("5").type_text("q!2SL?:").happen(Event::Pasted("/n\nL".to_owned()));
    assert_eq!(console.state.editor.buffer.text(), "q!2SL?:/n\nL\n");
    assert!(console.asked().iter().all(|effect| matches!(effect, Effect::Load { slot: Slot::Preview, .. })));
    console.press("esc 2");
    assert_eq!(console.state.screen, Screen::Experiments, "at rest keys do what they do elsewhere");
    console.press("5");
    assert_eq!(console.state.editor.buffer.text(), "q!2SL?:/n\nL\n", "and the text is kept");
}

#[test]
fn what_is_not_saved_is_asked_about() {
    let mut console = Console::playground();
    console.press("3 enter x ctrl-c");
    assert!(said(&console).contains("is not saved") && !console.asked().contains(&Effect::Quit));
    console.press("y ctrl-c");
    assert!(!console.asked().contains(&Effect::Quit), "only twice in a row is twice");
    console.press("ctrl-c");
    assert!(console.asked().contains(&Effect::Quit));
    console.press("esc 3 j enter");
    assert!(matches!(console.state.popup, Some(Popup::Choose(_))));
    console.press("enter");
    assert_eq!(
        console.state.editor.origin,
        Origin::Template("network-delay".to_owned()),
        "the first answer keeps it"
    );
    console.press("esc 3 enter j enter");
    assert_eq!(console.state.editor.origin, Origin::Template("partition".to_owned()));
}

#[test]
fn a_file_is_opened_and_saved_where_it_was() {
    let mut console = Console::playground();
    console.press(":").type_text("edit /tmp/x.yaml").press("enter");
    assert!(
        matches!(&console.effects[..], [.., Effect::Load { request: Request::ReadFile(path), .. }] if path == "/tmp/x.yaml")
    );
    let origin = Origin::File { path: "/tmp/x.yaml".to_owned(), stamp: "1".to_owned() };
    let text = "kind: PodChaos\n".to_owned();
    console.answer(Ok(Loaded::Manuscript(crate::app::editor::Manuscript { text, origin })));
    console.press("x ctrl-s");
    let request = Request::WriteFile {
        path: "/tmp/x.yaml".to_owned(),
        text: "xkind: PodChaos\n".to_owned(),
        stamp: Some("1".to_owned()),
    };
    assert!(matches!(console.effects.last(), Some(Effect::Load { request: asked, .. }) if *asked == request));
    console.answer(Err(Trouble::new("the disk is full")));
    assert!(console.state.editor.unsaved && matches!(console.state.popup, Some(Popup::Failed { .. })));
    console.press("esc ctrl-s");
    console.answer(Ok(Loaded::Saved { path: "/tmp/x.yaml".to_owned(), stamp: "2".to_owned() }));
    assert!(!console.state.editor.unsaved);
    let large = "x".repeat(1024 * 1024);
    console.happen(Event::Pasted(large));
    assert!(said(&console).contains("256 KiB") && !console.state.editor.unsaved);
}

#[test]
fn a_running_experiment_is_edited_and_what_is_refused_stands_at_its_line() {
    let mut console = Console::playground();
    console.with_delay().press("2 E");
    let Some(Effect::Load { slot: Slot::Editor, request: Request::Manuscript(object), .. }) =
        console.effects.last()
    else {
        panic!("{:?}", console.effects)
    };
    let origin = Origin::Experiment(object.clone());
    let text = crate::app::templates::named("network-delay").unwrap().text.to_owned();
    console.answer(Ok(Loaded::Manuscript(crate::app::editor::Manuscript { text, origin })));
    assert!(console.state.popup.is_none() && console.state.screen == Screen::Editor);
    let text = console.state.editor.buffer.text();
    let trouble = Trouble::new("admission refused: spec.selector: it cannot change while it runs");
    console.happen(Event::Done { deed: Deed::Apply { text, namespace: None }, outcome: Err(trouble) });
    let problem = &console.state.editor.problems[0];
    assert_eq!(console.state.editor.buffer.line(problem.at.0 - 1), "  selector:");
    console.press("esc f5");
    assert!(
        matches!(console.state.popup, Some(Popup::Waiting(_))),
        "it may be tried again: {:?}",
        console.state.popup
    );
}

#[test]
fn the_form_changes_the_text() {
    let mut console = Console::playground();
    console.press("3 enter f2");
    assert_eq!(console.state.editor.mode, Mode::Form);
    let select = |console: &mut Console, path: &str| {
        let rows = &console.state.editor.form.rows;
        let index =
            rows.iter().position(|row| crate::app::editor::outline::written(&row.path) == path).unwrap();
        console.state.editor.form.select(index, 10);
    };
    select(&mut console, "spec.duration");
    console.press("enter ctrl-u").type_text("30s").press("enter");
    assert!(console.state.editor.buffer.text().contains("\n  duration: 30s\n"));
    select(&mut console, "spec.mode");
    console.press("enter j enter");
    assert!(!console.state.editor.buffer.text().contains("\n  mode: all\n"));
    select(&mut console, "spec.duration");
    console.press("x");
    assert!(!console.state.editor.buffer.text().contains("duration:"));
    console.press("u u");
    assert!(console.state.editor.buffer.text().contains("duration: 30s"));
    console.press("esc");
    assert_eq!(console.state.editor.mode, Mode::Resting);
    on_line(&mut console, "spec:");
    console.press("i x f2");
    assert_ne!(console.state.editor.mode, Mode::Form, "{:?}", problems(&console));
}

#[test]
fn the_next_problem_is_one_key_away() {
    let mut console = Console::playground();
    console
        .press("5")
        .happen(Event::Pasted("apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata:\n  name: a\nspec:\n  action: x\n  mode: y\n  selector: {}\n".to_owned()));
    let count = console.state.editor.problems.len();
    assert!(count >= 2, "{:?}", problems(&console));
    console.press("esc g g");
    let first = console.state.editor.problems.iter().find(|problem| problem.at > (1, 1)).unwrap().at;
    console.press("]");
    let (row, column) = console.state.editor.buffer.cursor();
    assert_eq!((row + 1, column + 1), first);
    console.press("G [");
    let (row, _) = console.state.editor.buffer.cursor();
    assert_eq!(row + 1, console.state.editor.problems[count - 1].at.0);
}

#[test]
fn a_field_that_is_wrong_can_be_mended_in_the_form_and_a_text_that_cannot_be_read_not() {
    for (start, typed, opens) in [("    latency:", "x", true), ("  duration:", ": x", false)] {
        let mut console = Console::playground();
        console.press("3 enter");
        on_line(&mut console, start);
        console.type_text(typed);
        assert_eq!(problems(&console).len(), 1, "{start}: {:?}", problems(&console));
        console.press("f2");
        assert_eq!(console.state.editor.mode == Mode::Form, opens, "{start}{typed}");
    }
}
