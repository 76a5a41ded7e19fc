//! The verbs that look at experiments and turn them: status, plan, pause, resume, completions, man.

use super::*;

/// Starts an experiment and waits until its fault is in place.
async fn running(machine: &Machine, name: &str, behaviour: &str, duration: &str) {
    let file = machine.file(&format!("{name}.yaml"), &experiment(name, behaviour, duration));
    assert_eq!(machine.squall(&["apply", "-f", file.to_str().unwrap()]).await.code, Some(0));
    while !machine.squall(&["get", "netchaos", name]).await.out.contains("Injected") {}
}

async fn paused(client: &Client, name: &str) -> Option<String> {
    let chaos = Api::<NetworkChaos>::namespaced(client.clone(), "default").get(name).await.unwrap();
    chaos.annotations().get(api::PAUSE_ANNOTATION).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_waits_until_it_is_recovered_and_resume_until_it_is_injected() {
    let (machine, client) = Machine::with_playground();
    running(&machine, "p", "normal", "10m").await;
    let pausing = machine.squall(&["pause", "netchaos/p"]).await;
    assert_eq!(
        (pausing.code, pausing.out.as_str()),
        (Some(0), "networkchaos.chaos-mesh.org/p paused\n"),
        "{pausing:?}"
    );
    assert_eq!(pausing.err, "in playground default\n", "a pipe gets no progress");
    assert_eq!(paused(&client, "p").await.as_deref(), Some("true"));
    let again = machine.squall(&["pause", "networkchaos", "p"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("is paused already") && again.err.contains("squall resume"), "{}", again.err);

    let resuming = machine.squall(&["resume", "-f", "p.yaml"]).await;
    assert_eq!(
        (resuming.code, resuming.out.as_str()),
        (Some(0), "networkchaos.chaos-mesh.org/p resumed\n"),
        "{resuming:?}"
    );
    assert_eq!(paused(&client, "p").await, None);
    let again = machine.squall(&["resume", "networkchaos", "p"]).await;
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("is not paused"), "{}", again.err);
    let at_once = machine.squall(&["pause", "networkchaos", "p", "--no-wait"]).await;
    assert_eq!(at_once.out, "networkchaos.chaos-mesh.org/p is being paused\n", "{at_once:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paused_says_why_and_nothing_is_changed() {
    let (machine, client) = Machine::with_playground();
    running(&machine, "good", "normal", "10m").await;
    machine.file(
        "two.yaml",
        &(experiment("good", "normal", "10m") + "---\n" + &experiment("missing", "normal", "10m")),
    );
    let missing = machine.squall(&["pause", "-f", "two.yaml"]).await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.err.contains("missing does not exist in namespace default"), "{}", missing.err);
    assert_eq!(paused(&client, "good").await, None, "the other one was paused all the same");

    machine.file("over.yaml", &experiment("over", "halted", "10m"));
    machine.squall(&["apply", "-f", "over.yaml"]).await;
    while !machine.squall(&["get", "netchaos", "over"]).await.out.contains("Finished") {}
    machine.file("invalid.yaml", &experiment("invalid", "invalid", "10m"));
    machine.squall(&["apply", "-f", "invalid.yaml"]).await;
    while !machine.squall(&["get", "netchaos", "invalid"]).await.out.contains("Invalid") {}
    for (words, code, says) in [
        (&["pause", "networkchaos", "over"][..], 1, "is over already: Halted"),
        (&["resume", "networkchaos", "over"], 1, "is over already: Halted"),
        (&["pause", "networkchaos", "invalid"], 1, "cannot run: spec.x: wrong"),
        (&["pause", "pod", "mongo"], 2, "not a kind of experiment"),
        (&["pause", "networkchaos"], 2, "squall pause networkchaos NAME"),
        (&["pause"], 2, "required"),
    ] {
        let refused = machine.squall(words).await;
        assert_eq!(refused.code, Some(code), "{words:?}: {refused:?}");
        assert!(refused.err.contains(says), "{words:?}: {}", refused.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_ends_in_6_when_recovery_is_not_seen_and_resume_in_1_when_the_fault_does_not_come() {
    let (machine, client) = Machine::with_playground();
    running(&machine, "late", "late", "10m").await;
    let late = machine.squall(&["pause", "networkchaos", "late", "--timeout", "500ms"]).await;
    assert_eq!(late.code, Some(6), "{late:?}");
    assert!(late.err.contains("default/mongo-0: not yet undone"), "{}", late.err);

    // Without a controller nothing ever comes.
    let mut annotated: NetworkChaos = serde_yaml::from_str(&experiment("alone", "ignored", "10m")).unwrap();
    annotated.annotations_mut().insert(api::PAUSE_ANNOTATION.to_owned(), "true".to_owned());
    Api::<NetworkChaos>::namespaced(client, "default")
        .create(&PostParams::default(), &annotated)
        .await
        .unwrap();
    let alone = machine.squall(&["resume", "networkchaos", "alone", "--timeout", "500ms"]).await;
    assert_eq!(alone.code, Some(1), "{alone:?}");
    assert!(alone.err.contains("no target is known yet"), "{}", alone.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_all_and_one() {
    let (machine, _client) = Machine::with_playground();
    let none = machine.squall(&["status"]).await;
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (Some(0), "", "No experiments found\n"));
    assert_eq!(machine.squall(&["status", "-o", "json"]).await.out, "[]\n");
    running(&machine, "p", "normal", "10m").await;
    let table = machine.squall(&["status"]).await;
    let rows: Vec<Vec<&str>> = table.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[0],
        ["NAMESPACE", "KIND", "NAME", "PHASE", "TARGETS", "REMAINING/DURATION", "AGE"],
        "{table:?}"
    );
    assert_eq!(rows[1][..6], ["default", "networkchaos", "p", "Injected", "1/1", "-/10m"]);
    let elsewhere = machine.squall(&["status", "-n", "staging", "-o", "json"]).await;
    assert_eq!(elsewhere.out, "[]\n", "{elsewhere:?}");

    let one = machine.squall(&["status", "netchaos/p"]).await;
    assert!(
        one.out.contains("default/mongo-0   selector   Injected")
            && one.out.contains("table squall: 2 rules"),
        "{}",
        one.out
    );
    let json: Value =
        serde_json::from_str(&machine.squall(&["status", "netchaos", "p", "-o", "json"]).await.out).unwrap();
    assert_eq!((&json["phase"], &json["targets"]["injected"]), (&json!("Injected"), &json!(1)), "{json}");
    let yaml = machine.squall(&["status", "netchaos", "p", "-o", "yaml"]).await;
    assert!(yaml.out.starts_with("kind: NetworkChaos\nnamespace: default\nname: p\n"), "{}", yaml.out);
    let missing = machine.squall(&["status", "netchaos", "q"]).await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert_eq!(machine.squall(&["status", "pods", "q"]).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_the_parts_and_says_what_nobody_tells() {
    let (machine, client) = Machine::with_playground();
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    let system = json!({"metadata": {"name": api::SYSTEM_NAMESPACE}});
    namespaces.create(&PostParams::default(), &serde_json::from_value(system).unwrap()).await.unwrap();
    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(client.clone());
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    for name in ["machine1", "machine2"] {
        let node = json!({"metadata": {"name": name}, "status": ready});
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    }
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(client.clone(), api::SYSTEM_NAMESPACE);
    let daemon = json!({
        "metadata": {"name": "squall-daemon-machine1"},
        "spec": {"nodeName": "machine1", "containers": [{"name": "daemon", "image": "squall:0.9"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(daemon).unwrap()).await.unwrap();
    pods.patch_status(
        "squall-daemon-machine1",
        &PatchParams::default(),
        &Patch::Merge(json!({"status": ready})),
    )
    .await
    .unwrap();
    running(&machine, "p", "normal", "10m").await;

    let seen = machine.squall(&["top", "--once"]).await;
    assert_eq!(seen.code, Some(0), "{seen:?}");
    for line in [
        "Controllers: 0 of 0 ready, none is known to lead",
        "Daemons:     1 of 2 ready; 0 of 0 targets injected",
        "Experiments: 1: 1 Injected",
        "machine1   Ready    -         -        not known   not known   -",
        "machine2   none     -         -        -           -           1",
        "machine2: no daemon",
        "not known: CPU and memory on machine1: no kubelet tells /metrics/resource there",
    ] {
        assert!(seen.out.contains(line), "{line}: {}", seen.out);
    }
    let json: Value = serde_json::from_str(&machine.squall(&["top", "-o", "json"]).await.out).unwrap();
    assert_eq!(json["nodes"][0]["daemon"]["version"], "0.9", "{json:#}");
    assert_eq!(json["experiments"], json!({"Injected": 1}), "{json:#}");
    let sorted = machine.squall(&["top", "-o", "json", "--sort", "problems"]).await;
    let json: Value = serde_json::from_str(&sorted.out).unwrap();
    assert_eq!(json["nodes"][0]["node"], "machine2", "{json:#}");
    assert_eq!(machine.squall(&["top", "--sort", "weight"]).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_explains_and_changes_nothing() {
    let (machine, client) = Machine::with_playground();
    machine.file("a.yaml", &experiment("p", "normal", "1m"));
    let waits = machine.squall(&["plan", "-f", "a.yaml"]).await;
    assert_eq!(waits.code, Some(0), "{waits:?}");
    assert!(waits.out.contains("spec.selector matches no pod"), "{}", waits.out);

    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(client.clone());
    let node = json!({"metadata": {"name": "machine1"}});
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(client.clone(), "default");
    let mongo = json!({
        "metadata": {"name": "mongo-0", "labels": {"app": "mongo"}},
        "spec": {"nodeName": "machine1", "containers": [{"name": "mongo", "image": "mongo"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(mongo).unwrap()).await.unwrap();
    let up = Patch::Merge(
        json!({"status": {"phase": "Running", "podIP": "10.0.1.1", "podIPs": [{"ip": "10.0.1.1"}]}}),
    );
    pods.patch_status("mongo-0", &PatchParams::default(), &up).await.unwrap();
    let plan = machine.squall(&["plan", "-f", "a.yaml"]).await;
    assert_eq!((plan.code, plan.err.as_str()), (Some(0), ""), "{plan:?}");
    assert!(
        plan.out.starts_with(
            "networkchaos.chaos-mesh.org/p in default: partition on 1 target of 1 node, for 1m\n"
        ),
        "{}",
        plan.out
    );
    assert!(
        plan.out.contains("\n    default/mongo-0 (10.0.1.1)\n      drop what leaves on eth0 for 192.0.2.1\n"),
        "{}",
        plan.out
    );
    let json: Value =
        serde_json::from_str(&machine.squall(&["plan", "-f", "a.yaml", "-o", "json"]).await.out).unwrap();
    assert_eq!(
        (&json[0]["verdict"], &json[0]["nodes"][0]["node"]),
        (&json!("runs"), &json!("machine1")),
        "{json}"
    );

    let narrow = experiment("q", "normal", "1m").replace(
        "action: partition",
        "action: bandwidth\n  bandwidth: {rate: 1mbps, limit: 20000, buffer: 10000}",
    );
    machine.file("b.yaml", &narrow);
    let refused = machine.squall(&["plan", "-f", "a.yaml", "-f", "b.yaml"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.out.contains("does not inject \"bandwidth\" yet"), "{}", refused.out);
    machine.file("bad.yaml", &experiment("q", "normal", "1d"));
    assert_eq!(machine.squall(&["plan", "-f", "bad.yaml"]).await.code, Some(2));
    assert!(!exists(&client, "p").await && !exists(&client, "q").await, "something was applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_manual_pages_name_every_verb() {
    let machine = Machine::new();
    let help = machine.squall(&["--help"]).await.out;
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(verbs.contains(&"plan") && !verbs.contains(&"builtin"), "{verbs:?}");
    for shell in ["bash", "zsh", "fish"] {
        let script = machine.squall(&["completions", shell]).await;
        assert_eq!(script.code, Some(0), "{shell}: {}", script.err);
        for verb in &verbs {
            assert!(script.out.contains(verb), "{shell} does not know {verb}");
        }
    }
    assert_eq!(machine.squall(&["completions", "tcsh"]).await.code, Some(2));

    let page = machine.squall(&["man"]).await;
    assert!(page.out.contains(".TH squall 1"), "{page:?}");
    assert_eq!(machine.squall(&["man", "--output-dir", "."]).await.code, Some(0));
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let page = std::fs::read_to_string(machine.folder.path().join(format!("squall-{verb}.1"))).unwrap();
        assert!(page.contains("EXTRA") && page.contains("squall "), "{verb}: {page}");
    }
}
