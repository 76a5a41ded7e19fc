//! The tutorial's system in a playground: it runs, it heals, it is closed, and it leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, LogParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::cluster::{is_ready, pod, pods, process_of, sandbox_of, until};
use super::harness::{Home, Playground};

fn address(pod: &Pod) -> String {
    pod.status.as_ref().unwrap().pod_ip.clone().unwrap()
}

/// The sum of a counter over all its labels that contain `part`.
fn sum(metrics: &str, name: &str, part: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(part));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn successes(playground: &Playground, traffic: &Pod, path: &str) -> f64 {
    let target = format!("/api/v1/namespaces/default/pods/{}:9090/proxy/metrics", traffic.name_any());
    let metrics = playground.raw(&target).await.unwrap();
    sum(&metrics, "traffic_http_requests_total{", &format!("path=\"{path}\",status=\"200\""))
}

async fn films(playground: &Playground, server: &Pod) -> Vec<(String, u64)> {
    let path = format!("/api/v1/namespaces/default/pods/{}/proxy/movies", server.name_any());
    let list: Value = serde_json::from_str(&playground.raw(&path).await.unwrap()).unwrap();
    let film = |film: &Value| (film["title"].as_str().unwrap().to_owned(), film["year"].as_u64().unwrap());
    list["data"].as_array().unwrap().iter().map(film).collect()
}

#[tokio::test]
async fn the_tutorials_system_runs_on_three_nodes() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();

    let placed: BTreeSet<(String, String)> = {
        let api: Api<Pod> = Api::default_namespaced(client.clone());
        let pods = api.list(&ListParams::default()).await.unwrap();
        let place =
            |pod: &Pod| (pod.labels()["app"].clone(), pod.spec.as_ref().unwrap().node_name.clone().unwrap());
        assert!(pods.iter().all(is_ready), "not all pods are ready: {pods:?}");
        pods.iter().map(place).collect()
    };
    let expected = [
        ("mongo", "machine3"),
        ("server-app", "machine2"),
        ("server-app", "machine3"),
        ("traffic", "machine1"),
    ];
    assert_eq!(placed, expected.map(|(app, node)| (app.to_owned(), node.to_owned())).into());

    let seeded =
        [("The Sound of Music", 1965), ("Fast Times at Ridgemont High", 1982), ("Napoleon Dynamite", 2004)];
    for server in pods(&client, "server-app").await {
        assert_eq!(films(&playground, &server).await, seeded.map(|(title, year)| (title.to_owned(), year)));
    }

    let traffic = pod(&client, "traffic").await;
    for path in ["/", "/message1", "/movies"] {
        let before = successes(&playground, &traffic, path).await;
        until(&format!("traffic on {path} grows"), async || {
            (successes(&playground, &traffic, path).await > before + 10.0).then_some(())
        })
        .await;
    }
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let server = pod(&client, "server-app").await;
    let log = api
        .logs(&server.name_any(), &LogParams { tail_lines: Some(100), ..LogParams::default() })
        .await
        .unwrap();
    assert!(log.contains("movies server is up"), "the log of the movies server: {log}");

    assert!(playground.stop().success(), "Ctrl-C is the ordinary end");
    home.wait_for_no_process(Duration::from_secs(5)).expect("nothing is left after Ctrl-C");
}

#[tokio::test]
async fn the_database_is_reached_through_its_service() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = services.get("mongo").await.unwrap();
    let service = service.spec.unwrap().cluster_ip.unwrap();
    let database = address(&pod(&client, "mongo").await);
    let server = pod(&client, "server-app").await;
    // Seen from inside the pod, the peer is the Service: the translation happens outside.
    let connections =
        fs::read_to_string(format!("/proc/{}/net/tcp", process_of(&home, &server).unwrap())).unwrap();
    let peer = |address: &str| {
        let address: std::net::Ipv4Addr = address.parse().unwrap();
        format!("{:08X}:{:04X}", u32::from_le_bytes(address.to_bits().to_be_bytes()), 27017)
    };
    assert!(connections.contains(&peer(&service)), "no connection to {service}:27017 in\n{connections}");
    assert!(!connections.contains(&peer(&database)), "the pod talks to {database} directly:\n{connections}");

    // A Service without endpoints refuses at once: nobody waits for a time-out.
    let api: Api<k8s_openapi::api::apps::v1::Deployment> = Api::default_namespaced(client.clone());
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    api.patch("mongo", &PatchParams::default(), &none).await.unwrap();
    until("the database stops", async || pods(&client, "mongo").await.is_empty().then_some(())).await;
    let path = format!("/api/v1/namespaces/default/pods/{}/proxy/movies", server.name_any());
    until("the server says that it has no database", async || playground.raw(&path).await.err().map(drop))
        .await;
    let one = Patch::Merge(json!({ "spec": { "replicas": 1 } }));
    api.patch("mongo", &PatchParams::default(), &one).await.unwrap();
    // The volume outlives the pod.
    until("the films are back", async || {
        playground.raw(&path).await.ok().filter(|list| list.contains("Napoleon Dynamite"))
    })
    .await;
}

#[tokio::test]
async fn what_dies_comes_back() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let api: Api<Pod> = Api::default_namespaced(client.clone());

    let server = pod(&client, "server-app").await;
    let first = process_of(&home, &server).unwrap();
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let restarted = until("the killed container runs again", async || {
        let now = api.get(&server.name_any()).await.unwrap();
        let restarts = now.status.as_ref()?.container_statuses.as_ref()?.first()?.restart_count;
        (restarts == 1 && is_ready(&now)).then_some(now)
    })
    .await;
    assert_eq!(address(&restarted), address(&server), "the sandbox outlives the container");
    let status = restarted.status.as_ref().unwrap().container_statuses.clone().unwrap().remove(0);
    let end = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.signal), (137, Some(9)));
    let previous = LogParams { previous: true, ..LogParams::default() };
    let log = api.logs(&server.name_any(), &previous).await.unwrap();
    assert!(log.contains("movies server is up"), "the log of the killed container: {log}");

    kill(Pid::from_raw(sandbox_of(&home, &restarted)), Signal::SIGKILL).unwrap();
    until("the killed sandbox is made again", async || {
        let now = api.get(&server.name_any()).await.unwrap();
        (address(&now) != address(&server) && is_ready(&now)).then_some(())
    })
    .await;

    api.delete(&server.name_any(), &DeleteParams::default()).await.unwrap();
    until("a new pod takes the deleted one's place", async || {
        let now = pods(&client, "server-app").await;
        let ready = now.iter().filter(|pod| is_ready(pod)).count() == 2;
        (ready && now.len() == 2 && now.iter().all(|pod| pod.uid() != server.uid())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_image_changes_in_place() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let client = playground.client();
    let api: Api<Pod> = Api::default_namespaced(client.clone());
    let server = pod(&client, "server-app").await;
    let name = server.name_any();
    let image = server.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
    let swap = async |image: &str| {
        let patch: json_patch::Patch = serde_json::from_value(json!([
            { "op": "replace", "path": "/spec/containers/0/image", "value": image },
        ]))
        .unwrap();
        api.patch(&name, &PatchParams::default(), &Patch::<Pod>::Json(patch)).await.unwrap();
    };
    let state = async |wanted: fn(&Pod) -> bool| {
        until("the container's state", async || Some(api.get(&name).await.unwrap()).filter(wanted)).await
    };
    swap("hold").await;
    let held = state(|pod| !is_ready(pod)).await;
    assert_eq!(address(&held), address(&server), "the sandbox stays");
    swap("no-such-image").await;
    state(|pod| {
        let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let waiting = containers.and_then(|all| all[0].state.as_ref()?.waiting.as_ref()?.reason.clone());
        waiting.as_deref() == Some("ImagePullBackOff")
    })
    .await;
    let begun = Instant::now();
    swap(&image).await;
    state(is_ready).await;
    assert!(begun.elapsed() < Duration::from_secs(8), "the old image's back-off must not delay the new one");
}

#[tokio::test]
async fn nothing_outside_can_be_changed() {
    let home = Home::new();
    let Some(playground) = home.start("default") else { return };
    let server = pod(&playground.client(), "server-app").await;
    let pid = process_of(&home, &server).unwrap();
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let writable: BTreeSet<&str> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(4);
            let (point, options) = (fields.next()?, fields.next()?);
            options.split(',').any(|option| option == "rw").then_some(point)
        })
        .collect();
    assert_eq!(
        writable,
        BTreeSet::from(["/", "/etc/resolv.conf", "/proc", "/run", "/tmp", "/var/lib"]),
        "in\n{mounts}"
    );
    let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).unwrap();
    assert_eq!(routes.lines().skip(1).count(), 1, "a pod knows only its gateway:\n{routes}");
}

#[tokio::test]
async fn names_keep_playgrounds_apart() {
    let home = Home::new();
    let Some(one) = home.start("one") else { return };
    let two = home.start("two").expect("a second playground");
    let mut again = home.spawn("one");
    let refusal = again.wait_ready().expect_err("the same name twice");
    assert!(refusal.contains("playground 'one' is already running"), "{refusal}");
    assert!(refusal.contains(one.socket().to_str().unwrap()), "the refusal names the socket: {refusal}");
    let uids = async |playground: &Playground| -> BTreeSet<String> {
        pods(&playground.client(), "server-app").await.iter().map(|pod| pod.uid().unwrap()).collect()
    };
    assert!(uids(&one).await.is_disjoint(&uids(&two).await));
    assert!(one.stop().success());
    assert!(!uids(&two).await.is_empty(), "the other one lives on");
}

#[tokio::test]
async fn the_films_outlive_the_playground() {
    let home = Home::new();
    let Some(first) = home.start("default") else { return };
    let server = pod(&first.client(), "server-app").await;
    let path = format!("/api/v1/namespaces/default/pods/{}/proxy/movies", server.name_any());
    let film = http::Request::post(path).body(br#"{"title":"Stalker","year":1979}"#.to_vec()).unwrap();
    first.client().request_text(film).await.unwrap();
    first.signal(Signal::SIGKILL);
    drop(first);
    let second = home.start("default").expect("a start after a kill");
    let server = pod(&second.client(), "server-app").await;
    let films = films(&second, &server).await;
    assert_eq!(films.len(), 4, "three of the seed and the one added: {films:?}");
}

/// `kill -9` of the supervisor at random moments: the kernel must take everything with it.
#[test]
fn a_killed_playground_leaves_nothing() {
    const LANES: u64 = 5;
    let rounds: u64 = std::env::var("SQUALL_KILL_ROUNDS").map_or(50, |text| text.parse().expect("a number"));
    let seed: u64 =
        std::env::var("SQUALL_SEED").map_or_else(|_| rand::random(), |text| text.parse().expect("a number"));
    eprintln!("SQUALL_SEED={seed}");
    let probe = Home::new();
    let Some(up) = probe.start("probe") else { return };
    drop(up);
    let lane = |number: u64| {
        let mut random = SmallRng::seed_from_u64(seed.wrapping_add(number));
        let home = Home::new();
        for round in (number..rounds).step_by(usize::try_from(LANES).unwrap()) {
            // Every second round falls into the start, where most can go wrong.
            let longest = if round % 2 == 0 { 1000 } else { 5000 };
            let moment = Duration::from_millis(random.random_range(0..longest));
            let mut playground = home.spawn("torture");
            thread::park_timeout(moment);
            playground.signal(Signal::SIGKILL);
            playground.wait();
            if let Err(left) = home.wait_for_no_process(Duration::from_secs(5)) {
                panic!("killed after {moment:?}, still there: {left:#?}");
            }
            // The kernel closes sockets a moment after a process has lost its name.
            let begun = Instant::now();
            while UnixStream::connect(playground.socket()).is_ok() {
                assert!(
                    begun.elapsed() < Duration::from_secs(5),
                    "killed after {moment:?}, the socket still listens"
                );
                thread::park_timeout(Duration::from_millis(5));
            }
        }
        let mut last = home.spawn("torture");
        last.wait_ready().expect("the start after all the kills");
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|number| scope.spawn(move || lane(number))).collect();
        for lane in lanes {
            lane.join().expect("a lane");
        }
    });
}

/// The machine room and init hold everything up: with either of them the rest goes, and the supervisor says so.
#[test]
fn a_killed_machine_room_takes_everything_along() {
    let home = Home::new();
    for verb in ["room", "init"] {
        let Some(mut playground) = home.start("default") else { return };
        kill(Pid::from_raw(home.part(verb)), Signal::SIGKILL).unwrap();
        assert!(
            !playground.wait().success(),
            "the supervisor must not call the death of its {verb} a success"
        );
        home.wait_for_no_process(Duration::from_secs(5))
            .unwrap_or_else(|left| panic!("after {verb}: {left:#?}"));
        assert!(!playground.socket().exists(), "after {verb} the socket is left");
    }
}

#[tokio::test]
async fn the_second_ctrl_c_does_not_wait() {
    let home = Home::new();
    let Some(mut playground) = home.start("default") else { return };
    // A database that is stopped cannot end in order.
    let database = pod(&playground.client(), "mongo").await;
    kill(Pid::from_raw(process_of(&home, &database).unwrap()), Signal::SIGSTOP).unwrap();
    playground.signal(Signal::SIGINT);
    playground.signal(Signal::SIGTERM);
    let begun = Instant::now();
    assert!(playground.wait().success());
    assert!(begun.elapsed() < Duration::from_secs(2), "it waited {:?} for a pod", begun.elapsed());
    home.wait_for_no_process(Duration::from_secs(5)).expect("nothing is left");
}
