use std::sync::Arc;

use crate::app::action::Action;
use crate::app::effect::{Deed, Effect, Request, Slot};
use crate::app::event::{Event, Loaded};
use crate::app::keymap::{BINDINGS, Effect as Harm, Scope};
use crate::app::popup::Popup;
use crate::app::screens::{Pane, Screen};
use crate::app::state::State;
use crate::app::store::{Batch, Delta, Link, PodRow, Topic};
use crate::app::testing::{Console, pod};
use crate::app::update;
use crate::report::Trouble;

fn selected(console: &Console) -> String {
    console.state.current().map(|object| object.name).unwrap_or_default()
}

fn said(console: &Console) -> String {
    let notice = console.state.notices.shown(console.state.now);
    notice.map(|notice| notice.trouble.to_string()).unwrap_or_default()
}

fn question(console: &Console) -> (String, usize) {
    match &console.state.popup {
        Some(Popup::Confirm(confirm)) => (confirm.title.clone(), confirm.targets),
        other => panic!("no question but {other:?}"),
    }
}

#[test]
fn the_list_is_moved_through_filtered_and_sorted() {
    let mut console = Console::playground();
    assert_eq!(selected(&console), "mongo-596c7bf7bd-tkwpx");
    console.press("j j");
    assert_eq!(selected(&console), "server-app-698785988d-bnq84");
    console.press("/").type_text("-l app=traffic");
    assert_eq!(selected(&console), "traffic-64f8ddcd8c-kxbd7", "at once, while typing");
    console.press("enter esc");
    assert_eq!(console.state.cluster.pods.rows.len(), 4, "Esc takes the filter away");
    assert_eq!(selected(&console), "traffic-64f8ddcd8c-kxbd7", "and the selection stays");
    console.press("g g > > > > > > I");
    assert_eq!(console.state.cluster.pods.sort.column, 6);
    assert_eq!(console.state.cluster.pods.rows[0].node, "machine3");
    console.press("/").type_text("mongo").press("esc");
    assert_eq!(console.state.cluster.pods.rows.len(), 4, "Esc while typing brings back what was there");
}

#[test]
fn enter_and_esc_go_one_step_each() {
    let mut console = Console::playground();
    console.press("tab");
    assert_eq!(console.state.focus(), Pane::Nodes);
    console.press("j enter");
    assert_eq!((console.state.focus(), console.state.cluster.pods.rows.len()), (Pane::Pods, 1), "machine2");
    console.press("enter");
    assert_eq!(console.state.screen, Screen::Pager);
    assert!(matches!(
        &console.asked()[..],
        [Effect::Load { slot: Slot::Pager, request: Request::Describe(_), .. }]
    ));
    console.press("?");
    assert_eq!(console.state.screen, Screen::Help);
    console.press("esc");
    assert_eq!(console.state.screen, Screen::Pager);
    console.press("esc");
    assert_eq!(console.state.screen, Screen::Cluster);
    assert_eq!(console.state.cluster.pods.rows.len(), 1);
    console.press("esc");
    assert_eq!(console.state.cluster.pods.rows.len(), 4);
}

#[test]
fn an_answer_that_nobody_waits_for_is_passed_over() {
    let mut console = Console::playground();
    console.press("y");
    let Effect::Load { ticket: first, .. } = console.asked()[0].clone() else { panic!("no load") };
    console.press("esc j y");
    let text = |text: &str| Ok(Loaded::Text(text.to_owned()));
    console.happen(Event::Loaded { slot: Slot::Pager, ticket: first, outcome: text("late") });
    assert!(console.state.pager.lines.is_empty());
    console.happen(Event::Loaded { slot: Slot::Pager, ticket: first + 1, outcome: text("a: 1\nb: 2") });
    assert_eq!(console.state.pager.lines, ["a: 1", "b: 2"]);
}

#[test]
fn launching_asks_with_targets_and_counts() {
    let mut console = Console::playground();
    console.press("3 L");
    let [Effect::Load { slot: Slot::Plan, ticket, request: Request::Plan { text, .. } }] =
        &console.asked()[..]
    else {
        panic!("no plan")
    };
    assert!(text.contains("name: network-delay"));
    assert!(matches!(console.state.popup, Some(Popup::Waiting(_))));
    let failed = Err(Trouble::new("cannot list pods").cure("ask for the right"));
    console.happen(Event::Loaded { slot: Slot::Plan, ticket: *ticket, outcome: failed });
    assert!(matches!(&console.state.popup, Some(Popup::Failed { trouble, .. }) if trouble.cure.is_some()));
    console.press("esc");
    assert!(console.state.popup.is_none() && console.state.screen == Screen::Templates);
}

#[test]
fn what_was_launched_is_opened_as_soon_as_it_is_there() {
    let mut console = Console::playground();
    console.press("3");
    let text = crate::app::templates::named("network-delay").unwrap().text.to_owned();
    let deed = Deed::Apply { text, namespace: None };
    console.happen(Event::Done { deed: deed.clone(), outcome: Ok("created".to_owned()) });
    assert_eq!(console.state.screen, Screen::Experiments);
    console.with_delay();
    assert_eq!(console.state.screen, Screen::Run);
    assert!(console.asked().iter().any(|effect| matches!(effect, Effect::Load { slot: Slot::Timeline, .. })));
    // Whoever went elsewhere meanwhile is not called back.
    let mut console = Console::playground();
    console.happen(Event::Done { deed, outcome: Ok("created".to_owned()) });
    console.press("1").with_delay();
    assert_eq!(console.state.screen, Screen::Cluster);
}

#[test]
fn pausing_and_stopping_ask_and_do_it() {
    let mut console = Console::playground();
    console.with_delay().press("2 p");
    assert_eq!(question(&console), ("Pause NetworkChaos default/network-delay?".to_owned(), 3));
    console.press("n");
    assert!(console.asked().iter().all(|effect| !matches!(effect, Effect::Do(_))), "no means no");
    console.press("enter S enter");
    let deeds: Vec<_> =
        console.asked().into_iter().filter(|effect| matches!(effect, Effect::Do(_))).collect();
    assert!(matches!(&deeds[..], [Effect::Do(Deed::Stop(object))] if object.uid == "uid-delay"));
    console.press("r");
    assert_eq!(said(&console), "it is not paused");
}

#[test]
fn turning_shows_what_it_would_be_and_can_go_on() {
    let mut console = Console::playground();
    console.with_delay().press("2 enter + + + -");
    assert_eq!(question(&console).1, 3);
    console.press("enter");
    let deed = console.asked().into_iter().find_map(|effect| match effect {
        Effect::Do(Deed::Patch { patch, what, .. }) => {
            Some((patch["spec"]["delay"]["latency"].clone(), what))
        }
        _ => None,
    });
    assert_eq!(deed, Some(("300ms".into(), "latency 150ms → 300ms".to_owned())));
}

#[test]
fn the_emergency_stop_is_two_keys_from_everywhere() {
    for keys in
        ["1", "2", "3", "4", "4 enter", "6", "7", "2 enter", "y", "?", "1 tab", "3 enter esc", "3 enter f2"]
    {
        let mut console = Console::playground();
        console.with_delay().press(keys).asked();
        console.press("!");
        assert_eq!(question(&console), ("Emergency stop?".to_owned(), 3), "{keys}");
        console.press("enter");
        assert!(matches!(&console.asked()[..], [Effect::Do(Deed::Halt { .. })]), "{keys}");
    }
    // Where text is typed, by keys that type nothing.
    for (keys, stop) in [("5", "f8"), ("3 enter", "alt-!"), ("3 enter ctrl-space", "f8")] {
        let mut console = Console::playground();
        console.with_delay().press(keys).asked();
        console.press("!").asked();
        assert!(console.state.popup.is_none(), "{keys}: it is a character");
        console.press(stop);
        assert_eq!(question(&console), ("Emergency stop?".to_owned(), 3), "{keys}");
        console.press("enter");
        assert!(matches!(&console.asked()[..], [Effect::Do(Deed::Halt { .. })]), "{keys}");
    }
    let mut console = Console::playground();
    console.with_delay().press("2 S ! !");
    assert!(
        matches!(&console.asked()[..], [Effect::Do(Deed::Halt { .. })]),
        "from a question, and twice means yes"
    );
    let mut console = Console::playground();
    console.with_delay().resize(20, 5).press("! enter");
    assert!(matches!(&console.asked()[..], [Effect::Do(Deed::Halt { .. })]), "where nothing else has room");
}

#[test]
fn nothing_can_be_changed_where_it_is_read_only() {
    for binding in
        BINDINGS.iter().filter(|binding| binding.effect != Harm::Reads && binding.scope != Scope::Popup)
    {
        let mut console = Console::playground();
        console.with_delay().halted();
        console.state.read_only = true;
        console.press(screen_of(binding.scope)).asked();
        console.press(binding.keys[0]);
        assert!(console.state.popup.is_none() && console.asked().is_empty(), "{:?}", binding.action);
        assert!(said(&console).starts_with("this console is read-only"), "{:?}", binding.action);
    }
}

/// The keys that lead to a screen with this scope.
fn screen_of(scope: Scope) -> &'static str {
    match scope {
        Scope::Experiments => "2",
        Scope::Run => "2 enter",
        Scope::Templates => "3",
        Scope::SteadyState => "4",
        Scope::Typing => "3 enter",
        Scope::Editor => "3 enter esc",
        Scope::Form => "3 enter f2",
        _ => "1",
    }
}

#[test]
fn every_dangerous_action_asks_first_with_its_targets() {
    for binding in BINDINGS.iter().filter(|binding| binding.effect == Harm::Dangerous) {
        let mut console = Console::playground();
        console.with_delay();
        if binding.action == Action::Resume {
            let mut paused = crate::app::testing::delay();
            paused["status"]["conditions"] = serde_json::json!([{"type": "Paused", "status": "True"}]);
            console.experiment(&paused);
        }
        console.press(screen_of(binding.scope)).asked();
        console.press(binding.keys[0]);
        let asked = console.asked();
        if binding.action == Action::Launch {
            // Whom it hits is asked of the cluster first; nothing is done until that is answered and confirmed.
            assert!(matches!(&asked[..], [Effect::Load { slot: Slot::Plan, .. }]), "{asked:?}");
        } else {
            assert_eq!(question(&console).1, 3, "{:?}", binding.action);
            assert!(asked.is_empty(), "{:?} did something before it was confirmed", binding.action);
        }
    }
}

#[test]
fn a_text_that_is_typed_never_reaches_the_table_of_keys() {
    let mut console = Console::playground();
    console.press("/").type_text("q!2S");
    assert_eq!(console.state.prompt.as_ref().unwrap().input.text, "q!2S");
    assert!(console.asked().is_empty() && console.state.screen == Screen::Cluster);
    console.happen(Event::Pasted("x\n:apply /etc/passwd\n".to_owned()));
    assert_eq!(console.state.prompt.as_ref().unwrap().input.text, "q!2Sx");
    console.press("esc").happen(Event::Pasted("q".to_owned()));
    assert!(console.asked().is_empty(), "a paste is no key");
}

#[test]
fn commands_complete_and_are_remembered() {
    let mut console = Console::playground();
    console.press(":").type_text("ns def");
    assert_eq!(update::completion(&console.state).as_deref(), Some("ault"));
    console.press("tab enter");
    assert_eq!(console.state.namespace.as_deref(), Some("default"));
    console.press(":").type_text("ns all").press("enter : up up");
    assert_eq!(console.state.prompt.as_ref().unwrap().input.text, "ns default");
    console.press("esc :").type_text("fly").press("enter");
    assert!(said(&console).starts_with("there is no command \"fly\""));
    console.press(":").type_text("apply /tmp/x.yaml").press("enter");
    assert!(console.asked().iter().any(|effect| matches!(effect,
        Effect::Load { slot: Slot::Plan, request: Request::PlanFile { path, .. }, .. } if path == "/tmp/x.yaml")));
}

#[test]
fn pending_keys_show_how_they_go_on_after_a_while() {
    let mut console = Console::playground();
    console.press("g");
    assert!(!console.state.shows_continuations());
    assert!(console.state.next_wake() <= console.state.now + jiff::SignedDuration::from_millis(300));
    console.wait(300);
    assert!(console.state.shows_continuations());
    console.press("e");
    assert_eq!(console.state.screen, Screen::Experiments);
    console.press("g z");
    assert!(said(&console).starts_with("\"g z\" does nothing here"));
}

#[test]
fn leaving_says_what_goes_on_and_asks_twice() {
    let mut console = Console::playground();
    console.press("q");
    assert_eq!(console.asked(), [Effect::Quit]);
    console.with_delay().press("q");
    assert_eq!(said(&console), "1 experiment will go on without the console; again to leave");
    assert!(console.asked().is_empty());
    console.press("q");
    assert_eq!(console.asked(), [Effect::Quit]);
    let mut own = Console::playground();
    own.state.world.ends_with_console = true;
    own.press("ctrl-c");
    assert_eq!(said(&own), "this ends the playground; again to leave");
}

#[test]
fn a_lost_watch_is_said_once_and_the_data_stays() {
    let mut console = Console::playground();
    let lost = |what: &str| Link::Lost {
        since: jiff::Timestamp::default(),
        trouble: Trouble::new(what).cure("wait"),
    };
    console.happen(Event::Linked { topic: Topic::Pods, link: lost("no route") });
    console.happen(Event::Linked { topic: Topic::Pods, link: lost("no route") });
    assert_eq!(console.state.notices.newest_first().count(), 1);
    assert_eq!(console.state.cluster.pods.rows.len(), 4);
    assert_eq!(console.state.banner_lines(), 1);
    console.happen(Event::Linked { topic: Topic::Pods, link: Link::Live });
    assert_eq!(said(&console), "the API server answers again");
    assert_eq!(console.state.banner_lines(), 0);
}

#[test]
fn a_frozen_console_shows_nothing_new_until_it_goes_on() {
    let mut console = Console::playground();
    console.press("f").change(Batch {
        pods: Delta { upserted: vec![pod("new", "new", "machine1")], ..Delta::default() },
        ..Batch::default()
    });
    assert_eq!(console.state.cluster.pods.rows.len(), 4);
    console.press("f");
    assert_eq!(console.state.cluster.pods.rows.len(), 5);
}

#[test]
fn time_is_counted_down_while_pods_change_without_a_pause() {
    let mut console = Console::playground();
    console.with_delay().press("2");
    let left = |state: &State| {
        let row = state.experiments.list.current().and_then(|row| row.overview.remaining_seconds);
        (row, state.active().first().and_then(|overview| overview.remaining_seconds))
    };
    assert_eq!(left(&console.state), (Some(50), Some(50)));
    // Each batch comes before the second in which the console would look at the clock is over.
    for tenths in 1..=30 {
        let pods = Delta { upserted: vec![pod("busy", "busy", "machine1")], ..Delta::default() };
        let batch = Event::Changed(Box::new(Batch { pods, ..Batch::default() }));
        let now = console.state.now + jiff::SignedDuration::from_millis(100);
        drop(update(&mut console.state, batch, now));
        let seconds = Some(50 - tenths / 10);
        assert_eq!(left(&console.state), (seconds, seconds), "after {tenths} tenths of a second");
    }
}

#[test]
fn help_is_searched_and_does_what_was_found() {
    let mut console = Console::playground();
    console.press("ctrl-p").type_text("files to start").press("enter");
    assert_eq!(console.state.screen, Screen::Templates);
}

/// Whether something can be done is a question about the screen below the help.
#[test]
fn help_says_what_can_be_done_where_it_was_asked() {
    let mut console = Console::playground();
    console.press("3 ?");
    let rows = &console.state.help.list.rows;
    let launch = rows.iter().find(|row| row.place == "Templates" && row.keys == "L").unwrap();
    assert_eq!(launch.why_not, None);
    console.press("esc 1 ?");
    let rows = &console.state.help.list.rows;
    let launch = rows.iter().find(|row| row.place == "Templates" && row.keys == "L").unwrap();
    assert_eq!(launch.why_not.as_deref(), Some("on another screen"));
}

#[test]
fn the_help_lists_every_key_and_command_and_nothing_that_changes_where_nothing_may_be_changed() {
    let mut console = Console::playground();
    console.press("?");
    let commands = crate::app::commands::COMMANDS;
    assert_eq!(console.state.help.list.rows.len(), BINDINGS.len() + commands.len());
    let mut console = Console::playground();
    console.state.read_only = true;
    console.press("?");
    let reads = BINDINGS.iter().filter(|binding| binding.effect == Harm::Reads).count();
    let reads = reads + commands.iter().filter(|command| !command.writes).count();
    assert_eq!(console.state.help.list.rows.len(), reads);
}

#[test]
fn no_sequence_of_events_breaks_it() {
    use crate::app::key::{Code, Key};
    use proptest::prelude::*;
    let keys: Vec<Key> = BINDINGS
        .iter()
        .flat_map(|binding| binding.keys.iter().flat_map(|keys| Key::sequence(keys).unwrap()))
        .chain([Key::plain(Code::Backspace), Key::char('x')])
        .collect();
    let step = (0..keys.len() + 6).prop_map(move |number| match keys.get(number) {
        Some(key) => Event::Pressed(*key),
        None if number % 2 == 0 => Event::Resized {
            width: u16::try_from(number * 7 % 200).unwrap(),
            height: u16::try_from(number * 5 % 60).unwrap(),
        },
        None => Event::Scrolled { x: 5, y: 10, rows: 3 },
    });
    proptest!(ProptestConfig::with_cases(300), |(steps in prop::collection::vec(step, 1..60))| {
        let mut console = Console::playground();
        console.with_delay();
        for event in steps {
            console.happen(event);
            let State { cluster, .. } = &console.state;
            prop_assert!(cluster.pods.rows.is_empty() || cluster.pods.index < cluster.pods.rows.len());
            prop_assert!(console.state.next_wake() > console.state.now);
        }
    });
}

#[test]
fn panels_are_moved_among_enlarged_and_scrolled_back_in() {
    let mut console = Console::playground();
    console.with_measurements(120).press("4");
    let panel = |console: &Console| console.state.steady_state.panel;
    console.press("j");
    assert_eq!(panel(&console), 3, "three are beside each other");
    console.press("l l h k");
    assert_eq!(panel(&console), 1);
    console.press("k");
    assert_eq!(panel(&console), 1, "there is none above");
    console.press("j enter j j j j j j");
    assert!(console.state.steady_state.large);
    assert_eq!(console.state.steady_state.line, 4, "the last of five lines");
    console.press("z z [");
    assert_eq!(console.state.steady_state.back.as_secs(), 30, "a page is what is shown");
    console.press("home");
    assert_eq!(console.state.steady_state.back.as_secs(), 89, "to the first of what was measured");
    console.press("end esc");
    assert_eq!((console.state.steady_state.back.as_secs(), console.state.steady_state.large), (0, false));
    console.press("esc");
    assert_eq!(console.state.screen, Screen::Cluster);
}

#[test]
fn the_one_fault_that_is_on_can_be_turned_while_its_effect_is_watched() {
    let mut console = Console::playground();
    console.with_measurements(20).press("4 +");
    assert_eq!(said(&console), "no experiment is selected");
    console.press("esc").with_delay().press("+");
    assert_eq!(question(&console), ("Turn NetworkChaos default/network-delay?".to_owned(), 3));
}

#[test]
fn a_frozen_view_stands_still_while_measuring_goes_on() {
    let mut console = Console::playground();
    console.with_measurements(60).press("4 f");
    let before = crate::app::screens::steady_state::span(&console.state);
    console.wait(5_000);
    assert_eq!(crate::app::screens::steady_state::span(&console.state), before);
    console.press("f");
    assert_ne!(crate::app::screens::steady_state::span(&console.state), before);
}

#[test]
fn a_dashboard_of_the_settings_opens_and_nothing_is_looked_for_again_at_rest() {
    for (chosen, is_shown, complains) in
        [("none", false, false), ("http", true, false), ("gone", false, true)]
    {
        let mut console = Console::new();
        console.state.settings.dashboard = Some(chosen.to_owned());
        let pods = vec![pod("server-app-1", "server-app", "machine2")];
        let pods = Delta { upserted: pods, ..Default::default() };
        console.change(Batch { pods, ..Default::default() });
        let measure = &console.state.measure;
        assert_eq!((measure.dashboard.is_some(), measure.name.as_str()), (is_shown, chosen));
        assert_eq!(measure.trouble.as_ref().is_some_and(|trouble| trouble.what.contains("gone")), complains);
        assert!(!measure.is_unsettled, "{chosen}");
        let rest = console.state.next_wake().duration_since(console.state.now);
        assert!(rest.as_secs() > 10, "{chosen}: it wakes after {rest}");
    }
}

#[test]
fn only_the_application_that_a_dashboard_names_is_asked_unasked() {
    let opened = |pod: PodRow| {
        let mut console = Console::new();
        let pods = Delta { upserted: vec![Arc::new(pod)], ..Default::default() };
        console.change(Batch { pods, ..Default::default() });
        let asks = console.asked().iter().any(|effect| matches!(effect, Effect::Measure(Some(_))));
        (console.state.measure.name.clone(), asks)
    };
    let server = (*pod("server-app-1", "server-app", "machine2")).clone();
    assert_eq!(opened(server.clone()), ("movies".to_owned(), true));
    let label = ("app.kubernetes.io/name".to_owned(), "prometheus-node-exporter".to_owned());
    let exporter = PodRow { labels: Arc::new([label].into()), ..server.clone() };
    assert_eq!(opened(exporter), (String::new(), false), "every node has one");
    let annotation = ("prometheus.io/scrape".to_owned(), "true".to_owned());
    let port = ("prometheus.io/port".to_owned(), "80".to_owned());
    let labels = Arc::default();
    let annotated = PodRow { labels, annotations: [annotation, port].into(), ..server };
    assert_eq!(opened(annotated), (String::new(), false), "many have that");
}
