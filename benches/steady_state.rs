//! What reading metrics costs: the reader alone, then fifty endpoints of 2,000 series each, asked every second, read and
//! kept. Prints figures and asserts nothing: `cargo bench --bench steady_state`, and of it one part only with `-- reader`,
//! `-- live SECONDS`.

#![expect(
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark stops at what is wrong, and prints numbers of moderate size"
)]
#![expect(clippy::print_stdout, reason = "it is made to print")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use squall::steady_state::discovery::{Endpoint, Reach};
use squall::steady_state::exposition::{Format, read};
use squall::steady_state::scrape::{Scraped, Scraper};
use squall::steady_state::series::{Labels, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Endpoints of the live part.
const ENDPOINTS: usize = 50;

/// Series of each.
const SERIES: usize = 2_000;

/// How far back the store keeps values: a chart of a rate over a minute.
const WINDOW: i64 = 60_000;

/// How long the reader is timed for each figure.
const TIMED: Duration = Duration::from_secs(1);

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("endpoints") => endpoints(),
        Some("reader") => reader(),
        Some("live") => live(arguments.get(1).map_or(20, |seconds| seconds.parse().expect("seconds"))),
        _ => {
            reader();
            live(20);
        }
    }
}

// ---- the reader --------------------------------------------------------------------------------

fn reader() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expositions");
    for name in ["containerd.txt", "etcd.txt", "process-exporter.txt"] {
        time_body(name, &fs::read(folder.join(name)).expect("a capture"));
    }
    time_body("movies, 2,000 series", movies(7).as_bytes());
}

fn time_body(name: &str, body: &[u8]) {
    println!("{name}: {} bytes", body.len());
    time("all samples", body, || {
        let mut sum = 0.0;
        let summary = read(body, Format::Text, |_name| true, |sample| sum += sample.value).expect("metrics");
        assert_eq!(summary.bad, 0);
        black_box(sum);
        summary.samples
    });
    time("none wanted", body, || {
        let summary = read(body, Format::Text, |_name| false, |_sample| {}).expect("metrics");
        summary.skipped
    });
    let text = std::str::from_utf8(body).expect("text");
    time("the crate prometheus-parse", body, || {
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = prometheus_parse::Scrape::parse(lines).expect("metrics");
        black_box(scrape.samples.len());
        text.lines().filter(|line| !line.starts_with('#')).count()
    });
}

/// Samples and bytes of each second of processor time, of what reads a body once and says how many samples there were.
fn time(what: &str, body: &[u8], mut once: impl FnMut() -> usize) {
    once();
    let (begun, mut samples, mut rounds) = (cpu(), 0, 0);
    while cpu().saturating_sub(begun) < TIMED {
        samples += once();
        rounds += 1;
    }
    let seconds = cpu().saturating_sub(begun).as_secs_f64();
    let megabytes = (rounds * body.len()) as f64 / 1e6 / seconds;
    println!("  {what}: {:.2} million samples/s, {megabytes:.0} MB/s", samples as f64 / 1e6 / seconds);
}

/// What a server with many routes tells: a histogram and a counter for each, and some gauges. All of it changes with `round`.
fn movies(round: usize) -> String {
    let mut body = String::with_capacity(300_000);
    let mut left = SERIES;
    let mut line = |body: &mut String, arguments: std::fmt::Arguments<'_>| {
        if left > 0 {
            left -= 1;
            body.write_fmt(arguments).expect("a text takes more");
            body.push('\n');
        }
    };
    body.push_str("# HELP http_request_duration_seconds Time to answer.\n# TYPE http_request_duration_seconds histogram\n");
    for route in 0..SERIES {
        let labels = format!("method=\"GET\",path=\"/movies/{{id}}/part-{route}\",status=\"200\"");
        let mut bound = 0.000_05;
        for bucket in 1..=55 {
            let count = round * bucket + route;
            line(
                &mut body,
                format_args!("http_request_duration_seconds_bucket{{{labels},le=\"{bound:.6}\"}} {count}"),
            );
            bound *= 1.25;
        }
        let sum = (round * route) as f64 * 0.001_234_567;
        line(&mut body, format_args!("http_request_duration_seconds_sum{{{labels}}} {sum}"));
        line(
            &mut body,
            format_args!("http_request_duration_seconds_count{{{labels}}} {}", round * 55 + route),
        );
        line(&mut body, format_args!("http_requests_total{{{labels}}} {}", round * 55 + route));
        line(&mut body, format_args!("process_part_bytes{{part=\"{route}\"}} {}", 1_000_000 + round % 7));
    }
    body
}

// ---- the endpoints, in a process of their own ------------------------------------------------------

/// Serves for ever; prints the ports. Ends when its standard input does.
fn endpoints() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for _ in 0..ENDPOINTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
            println!("{}", listener.local_addr().expect("an address").port());
            tokio::spawn(async move {
                while let Ok((stream, _peer)) = listener.accept().await {
                    tokio::spawn(serve(stream));
                }
            });
        }
        println!("ready");
        let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        drop(parent.await);
    });
}

async fn serve(mut stream: TcpStream) {
    let (mut request, mut round) = (vec![0; 4096], 0);
    let mut got = 0;
    while let Ok(more @ 1..) = stream.read(request.get_mut(got..).expect("a short request")).await {
        got += more;
        if !request.get(..got).is_some_and(|text| text.ends_with(b"\r\n\r\n")) {
            continue;
        }
        (got, round) = (0, round + 1);
        let body = movies(round);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all([head, body].concat().as_bytes()).await.is_err() {
            return;
        }
    }
}

// ---- all of it ---------------------------------------------------------------------------------

#[expect(clippy::disallowed_methods, reason = "the endpoints are not to be measured with what asks them")]
fn start() -> (Child, Vec<u16>) {
    let program = std::env::current_exe().expect("this program");
    let mut child = std::process::Command::new(program)
        .arg("endpoints")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the endpoints start");
    let output = BufReader::new(child.stdout.take().expect("its output"));
    let lines = output.lines().map(|line| line.expect("a line"));
    let ports = lines.take_while(|line| line != "ready").map(|line| line.parse().expect("a port"));
    let ports = ports.collect();
    (child, ports)
}

fn live(seconds: u64) {
    let (mut child, ports) = start();
    for (what, wanted) in [
        ("asked, read and kept, all samples", Some("")),
        ("asked, read and kept, only http_requests_total", Some("http_requests_total")),
        ("asked only", None),
    ] {
        measure(what, &ports, seconds, wanted);
    }
    // The end of its input is the end of it.
    drop(child.stdin.take());
    child.wait().expect("the endpoints end");
}

/// `wanted` is what every name that is read begins with; without one no answer is read.
fn measure(what: &str, ports: &[u16], seconds: u64, wanted: Option<&'static str>) {
    let endpoints: Vec<_> = ports.iter().enumerate().map(|(number, port)| endpoint(number, *port)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = kube::Client::new(
            tower::service_fn(|_request: http::Request<kube::client::Body>| async {
                Err::<http::Response<kube::client::Body>, _>(std::io::Error::other(
                    "nobody asks the API server",
                ))
            }),
            "default",
        );
        let cancel = CancellationToken::new();
        let (sender, answers) = mpsc::channel(16);
        let (_sender, endpoints) = watch::channel(endpoints);
        let reader = std::thread::spawn(move || keep(answers, wanted));
        let scraper = tokio::spawn(Scraper::new(client).run(endpoints, sender, cancel.clone()));
        // Connections, and all series anew.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (cpu, begun) = (cpu(), Instant::now());
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let share = self::cpu().saturating_sub(cpu).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0;
        let (now, most) = (memory("VmRSS:"), memory("VmHWM:"));
        cancel.cancel();
        scraper.await.expect("the scraper ends");
        let (kept, answers) = reader.join().expect("the reader ends");
        println!(
            "{ENDPOINTS} endpoints of {SERIES} series, {what}: {share:.1} % of a core, {now:.0} MiB resident \
             ({most:.0} at most), {answers}, {kept}"
        );
    });
}

fn endpoint(number: usize, port: u16) -> Endpoint {
    Endpoint {
        namespace: "default".to_owned(),
        pod: format!("server-app-7d9c6b8f5d-{number:05}"),
        uid: format!("00000000-0000-4000-8000-{number:012}"),
        node: "machine1".to_owned(),
        reach: Reach::Direct(Ipv4Addr::LOCALHOST.into()),
        port,
        path: "/metrics".to_owned(),
    }
}

/// Reads what comes, until nothing does: as the console's worker does it.
fn keep(mut answers: mpsc::Receiver<Scraped>, wanted: Option<&str>) -> (String, String) {
    let mut store = Store::new(WINDOW, ENDPOINTS * (SERIES + 1));
    let mut labels = HashMap::new();
    let (mut good, mut bad, mut took, mut samples) = (0, 0, Duration::ZERO, 0);
    while let Some(scraped) = answers.blocking_recv() {
        let Ok(answer) = scraped.outcome else {
            bad += 1;
            continue;
        };
        good += 1;
        took += answer.took;
        let Some(wanted) = wanted else { continue };
        let endpoint = &scraped.endpoint;
        let target = labels.entry(endpoint.uid.clone()).or_insert_with(|| {
            Labels::new([
                ("namespace", endpoint.namespace.as_str()),
                ("pod", endpoint.pod.as_str()),
                ("node", endpoint.node.as_str()),
            ])
        });
        let mut scrape = store.scrape(target, scraped.at_ms);
        let read = answer.read(|name| name.starts_with(wanted), |sample| scrape.take(sample));
        samples += read.expect("metrics").samples;
        scrape.end();
    }
    let mean = took / good.max(1);
    (
        format!(
            "{samples} samples read, {} series in {:.1} MiB",
            store.len(),
            store.bytes() as f64 / 1024.0 / 1024.0
        ),
        format!("{good} answers of {mean:.1?} each and {bad} failures"),
    )
}

/// What this process has used of all processors.
fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("a clock").into()
}

/// MiB of this process.
fn memory(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}
