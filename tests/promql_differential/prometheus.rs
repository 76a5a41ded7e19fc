//! A real Prometheus on loopback, fed by remote write: that way it takes the markers for the end of a series, too.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use squall::steady_state::series::Labels;

/// A series and its samples: milliseconds since 1970, oldest first.
pub(crate) type Series = (Labels, Vec<(i64, f64)>);

/// What an expression came to: its samples, sorted; or the error.
pub(crate) type Answer = Result<Vec<(Labels, f64)>, String>;

/// How long it may take to start or to answer.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Prometheus {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The program: what `SQUALL_TEST_PROMETHEUS` names, or the one on the path.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("SQUALL_TEST_PROMETHEUS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("prometheus"));
    named.into_iter().chain(on_path).find(|program| program.is_file())
}

impl Prometheus {
    /// Starts it; none, which is said, where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            eprintln!(
                "SKIPPED: comparison with a real Prometheus: it is neither on PATH nor where SQUALL_TEST_PROMETHEUS says"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("prometheus.yml");
        fs::write(&configuration, "global: {}\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(program)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut prometheus = Self { process, port, folder };
        let begun = Instant::now();
        while !matches!(prometheus.request("GET", "/-/ready", &[]), Ok((200, _))) {
            let log = fs::read_to_string(prometheus.folder.path().join("log")).unwrap_or_default();
            assert!(prometheus.process.try_wait().unwrap().is_none(), "Prometheus ended:\n{log}");
            assert!(begun.elapsed() < PATIENCE, "Prometheus is not ready:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(prometheus)
    }

    /// Gives it samples; those of one series in the order of time.
    pub(crate) fn write(&self, series: &[Series]) {
        let mut request = Vec::new();
        for (labels, samples) in series {
            let mut message = Vec::new();
            for (name, value) in labels {
                let mut label = Vec::new();
                field(&mut label, 1, name.as_bytes());
                field(&mut label, 2, value.as_bytes());
                field(&mut message, 1, &label);
            }
            for (at, value) in samples {
                // Field 1 is eight bytes, field 2 a number.
                let mut sample = vec![1 << 3 | 1];
                sample.extend(value.to_le_bytes());
                sample.push(2 << 3);
                number(&mut sample, at.cast_unsigned());
                field(&mut message, 2, &sample);
            }
            field(&mut request, 1, &message);
        }
        let body = snap::raw::Encoder::new().compress_vec(&request).unwrap();
        let (status, answer) = self.request("POST", "/api/v1/write", &body).unwrap();
        assert_eq!(status, 204, "{}", String::from_utf8_lossy(&answer));
    }

    /// Evaluates an expression at a moment in milliseconds.
    pub(crate) fn query(&self, expression: &str, at: i64) -> Answer {
        let parameters: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", expression)
            .append_pair("time", &format!("{}.{:03}", at / 1000, at % 1000))
            .finish();
        let (_, body) = self.request("GET", &format!("/api/v1/query?{parameters}"), &[]).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        if answer["status"] != "success" {
            return Err(answer["error"].as_str().unwrap().to_owned());
        }
        let result = &answer["data"]["result"];
        if answer["data"]["resultType"] == "scalar" {
            return Ok(vec![(Labels::empty(), float(&result[1]))]);
        }
        let sample = |sample: &Value| {
            let labels = sample["metric"].as_object().unwrap();
            (
                Labels::new(labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()))),
                float(&sample["value"][1]),
            )
        };
        let mut samples: Vec<_> = result.as_array().unwrap().iter().map(sample).collect();
        samples.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(samples)
    }

    /// One request of HTTP/1.0: the answer ends with the connection.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(PATIENCE))?;
        write!(
            connection,
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
             X-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        connection.write_all(body)?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|part| part == b"\r\n\r\n").unwrap_or(answer.len());
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok((status, answer.split_off((end + 4).min(answer.len()))))
    }
}

fn float(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

/// A protobuf field of bytes.
fn field(into: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    into.push(tag << 3 | 2);
    number(into, bytes.len() as u64);
    into.extend(bytes);
}

fn number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}
