//! Pods: that they run, are watched over, limited and started again, as on any node.

use serde_json::{Value, json};
use test_cluster::{BUSYBOX, archive, node_name};

use super::{
    NODES, apply, cluster, eventually, kubectl, ordered, pod, ready, serves, shell, shell_says, told,
};

#[tokio::test]
async fn every_node_is_ready_and_runs_a_pod() {
    let cluster = cluster().await;
    let block = cluster.block().unwrap();
    for node in 1..=NODES {
        let name = format!("everywhere{node}");
        let address = ready(cluster, &pod(&name, node, "exec sleep 1000"));
        let given = kubectl(cluster, &format!("get node {} -o jsonpath={{.spec.podCIDR}}", node_name(node)));
        assert_eq!(given, block.pods(node));
        assert!(address.starts_with(given.trim_end_matches("0/24")), "{address} is not of {given}");
        let placed =
            kubectl(cluster, &format!("get pod {name} -o jsonpath={{.spec.nodeName}},{{.status.hostIP}}"));
        assert_eq!(placed, format!("{},{}", node_name(node), block.node(node)));
    }
}

#[tokio::test]
async fn a_pod_is_talked_to_through_the_api_server() {
    let cluster = cluster().await;
    ready(cluster, &pod("talks", 1, "echo said at start; exec sleep 1000"));
    assert_eq!(kubectl(cluster, "logs talks"), "said at start\n");
    assert_eq!(shell_says(cluster, "talks", "hostname; cat /proc/1/comm"), "talks\nsleep");
    let status = shell(cluster, "talks", "exit 7").status;
    assert_eq!(status.code(), Some(7), "what a command ends with comes through");
}

#[tokio::test]
async fn a_pod_is_reached_through_a_forwarded_port_and_from_the_host() {
    let cluster = cluster().await;
    let address = ready(cluster, &pod("forwarded", 2, &serves("through")));
    // Programs on the host reach it as those of a control-plane node would.
    assert_eq!(fetch(&format!("{address}:8080")), "through");
    let mut forward = ordered(cluster, "port-forward pod/forwarded :8080");
    let mut forward = forward.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(forward.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    // Forwarding from 127.0.0.1:40123 -> 8080
    let local = line.split(' ').nth(2).unwrap().to_owned();
    assert_eq!(fetch(&local), "through");
    forward.kill().unwrap();
    forward.wait().unwrap();
}

/// The body of what a server answers to a GET.
fn fetch(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_daemon_set_sees_the_processes_of_its_node_and_no_other() {
    let cluster = cluster().await;
    let privileged = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "agent" },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": {
                    "hostPID": true, "hostNetwork": true, "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never",
                        "command": ["sleep", "1000"], "securityContext": { "privileged": true },
                        "volumeMounts": [{ "name": "state", "mountPath": "/state" }],
                    }],
                    "volumes": [{ "name": "state", "hostPath": { "path": "/run/agent", "type": "DirectoryOrCreate" } }],
                },
            },
        },
    });
    for node in 1..=NODES {
        ready(cluster, &pod(&format!("victim{node}"), node, &format!("exec sleep 1000{node}")));
    }
    apply(cluster, &privileged);
    kubectl(cluster, "rollout status daemonset/agent --timeout=60s");
    for node in 1..=NODES {
        let selector =
            format!("get pod -l app=agent --field-selector=spec.nodeName={} -o name", node_name(node));
        let agent = kubectl(cluster, &selector).trim().to_owned();
        let processes = shell_says(cluster, &agent, "ps -o pid,args");
        assert!(processes.contains("kubelet") && processes.contains("containerd"), "{agent}: {processes}");
        let process = |victim: u8| {
            let mut lines = processes.lines().map(|line| line.trim().split_once(' ').unwrap());
            lines.find(|(_, line)| *line == format!("sleep 1000{victim}")).map(|(id, _)| id)
        };
        let seen: Vec<u8> = (1..=NODES).filter(|victim| process(*victim).is_some()).collect();
        assert_eq!(seen, [node], "{agent}: {processes}");
        // A pod is found by the names that the kubelet gives control groups.
        let victim = kubectl(cluster, &format!("get pod victim{node} -o jsonpath={{.metadata.uid}}"));
        let groups = shell_says(cluster, &agent, &format!("cat /proc/{}/cgroup", process(node).unwrap()));
        assert!(groups.contains(&format!("/kubepods/besteffort/pod{victim}/")), "{groups}");
        // Its folder on the node is the node's alone.
        shell_says(
            cluster,
            &agent,
            &format!("echo {node} >>/state/who && [ \"$(cat /state/who)\" = {node} ]"),
        );
    }
    kubectl(cluster, "delete daemonset agent");
}

#[tokio::test]
async fn a_container_that_wants_more_memory_than_its_limit_is_killed_for_it() {
    let cluster = cluster().await;
    let mut greedy = pod("greedy", 1, "exec tail /dev/zero");
    let limits = json!({ "limits": { "memory": "32Mi", "cpu": "200m" } });
    greedy["spec"]["containers"][0]["resources"] = limits.clone();
    greedy["spec"]["restartPolicy"] = json!("Never");
    apply(cluster, &greedy);
    let reason = "get pod greedy -o jsonpath={.status.containerStatuses[0].state.terminated.reason}";
    eventually("greedy is killed", || kubectl(cluster, reason) == "OOMKilled");

    let mut modest = pod("modest", 1, "exec sleep 1000");
    modest["spec"]["containers"][0]["resources"] = limits;
    ready(cluster, &modest);
    // The limits as the container itself finds them, in control groups of either version.
    let memory = shell_says(
        cluster,
        "modest",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max",
    );
    assert_eq!(memory, (32 << 20).to_string());
    let processor = shell_says(
        cluster,
        "modest",
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d ' ' -f 1 /sys/fs/cgroup/cpu.max",
    );
    assert_eq!(processor, "20000");
}

#[tokio::test]
async fn a_container_that_ends_is_started_again_and_its_pod_stays() {
    let cluster = cluster().await;
    let address = ready(cluster, &pod("again", 3, "trap 'exit 0' TERM; sleep 1000 & wait"));
    let before = kubectl(cluster, "get pod again -o jsonpath={.status.containerStatuses[0].containerID}");
    shell(cluster, "again", "kill -TERM 1");
    let status = |field: &str| kubectl(cluster, &format!("get pod again -o jsonpath={{.status.{field}}}"));
    eventually("it runs again", || {
        status("containerStatuses[0].restartCount") == "1" && status("containerStatuses[0].ready") == "true"
    });
    assert_ne!(status("containerStatuses[0].containerID"), before);
    assert_eq!(status("podIP"), address);
}

#[tokio::test]
async fn a_probe_that_fails_takes_a_pod_out_of_service_and_restarts_it() {
    let cluster = cluster().await;
    let mut probed = pod("probed", 2, &serves("well"));
    let probe =
        json!({ "httpGet": { "port": 8080, "path": "/" }, "periodSeconds": 1, "failureThreshold": 2 });
    probed["spec"]["containers"][0]["livenessProbe"] = probe.clone();
    probed["spec"]["containers"][0]["readinessProbe"] = probe;
    ready(cluster, &probed);
    shell_says(cluster, "probed", "rm /www/index.html");
    let restarts = "get pod probed -o jsonpath={.status.containerStatuses[0].restartCount}";
    eventually("it is restarted", || kubectl(cluster, restarts) == "1");
    kubectl(cluster, "wait --for=condition=Ready --timeout=60s pod/probed");
}

#[tokio::test]
async fn an_image_of_ones_own_runs_on_every_node_and_asks_the_api_server() {
    let cluster = cluster().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, name) = (folder.path().join("own.tar"), "squall.test/own:2");
    let kubectl_program = cluster.kubectl().get_program().to_owned();
    let start = ["/own/kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"];
    archive(&path, name, &start, &[(kubectl_program.as_ref(), "/own/kubectl")]).unwrap();
    cluster.import(&path).unwrap();
    for node in 1..=NODES {
        let mut own = pod(&format!("own{node}"), node, "");
        own["spec"]["containers"] = json!([{ "name": "main", "image": name, "imagePullPolicy": "Never" }]);
        own["spec"]["restartPolicy"] = json!("Never");
        apply(cluster, &own);
    }
    for node in 1..=NODES {
        let phase = || kubectl(cluster, &format!("get pod own{node} -o jsonpath={{.status.phase}}"));
        eventually("it ends", || ["Succeeded", "Failed"].contains(&phase().as_str()));
        let said = kubectl(cluster, &format!("logs own{node}"));
        assert_eq!(
            said, "system:serviceaccount:default:default",
            "by way of its Service and with the account of its pod"
        );
    }
}

#[tokio::test]
async fn a_deployment_spreads_over_the_nodes_and_a_deleted_pod_is_replaced() {
    let cluster = cluster().await;
    let mut template = pod("spread", 1, "exec sleep 1000");
    let spec = template["spec"].as_object_mut().unwrap();
    spec.remove("nodeSelector");
    let selector = json!({ "matchLabels": { "app": "spread" } });
    spec.insert(
        "topologySpreadConstraints".to_owned(),
        json!([{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector,
        }]),
    );
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "spread" },
        "spec": {
            "replicas": NODES, "selector": selector,
            "template": { "metadata": { "labels": { "app": "spread" } }, "spec": template["spec"] },
        },
    });
    apply(cluster, &deployment);
    kubectl(cluster, "rollout status deployment/spread --timeout=60s");
    let pods =
        || -> Value { serde_json::from_str(&kubectl(cluster, "get pod -l app=spread -o json")).unwrap() };
    let names = |field: &str, part: &str| -> Vec<String> {
        let pods = pods();
        let mut names: Vec<_> =
            pods["items"].as_array().unwrap().iter().map(|pod| pod[field][part].to_string()).collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(names("spec", "nodeName").len(), usize::from(NODES));
    let before = names("metadata", "name");
    told(&mut ordered(cluster, &format!("delete pod {}", before[0].trim_matches('"'))), "delete");
    kubectl(cluster, "rollout status deployment/spread --timeout=60s");
    assert_ne!(names("metadata", "name"), before);
    kubectl(cluster, "delete deployment spread");
}
