//! A terminal for tests: starts the program on a pseudo terminal of its own, types, and looks at the screen as a person
//! would, with as much delay on the line as a test wants.
//!
//! The program is the leader of a session whose controlling terminal this is, as under a login. With [`Launch::job`] it
//! is a job of a shell instead, which can stop and continue it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, read, tcgetpgrp, write};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often the threads look whether they are wanted any more.
const GLANCE: u16 = 20;

/// What is started, and on which terminal.
#[derive(Debug)]
pub(crate) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    user: Option<u32>,
    size: (u16, u16),
    latency: Duration,
    script: Option<&'static str>,
}

impl Launch {
    /// The program of this checkout, on a terminal of 80 columns and 24 rows, with a bare environment.
    pub(crate) fn squall(arguments: &[&str]) -> Self {
        let program =
            std::env::var_os("SQUALL_BIN").map_or(env!("CARGO_BIN_EXE_squall").into(), PathBuf::from);
        let launch = Self {
            program,
            arguments: arguments.iter().map(Into::into).collect(),
            environment: Vec::new(),
            user: None,
            size: (80, 24),
            latency: Duration::ZERO,
            script: None,
        };
        launch
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TERM", "xterm-256color")
            .env("LANG", "C.UTF-8")
            .env("HOME", "/nonexistent")
    }

    /// Another copy of the program.
    pub(crate) fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it as this user and the group of the same number.
    pub(crate) fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Columns and rows.
    pub(crate) fn size(mut self, columns: u16, rows: u16) -> Self {
        self.size = (columns, rows);
        self
    }

    /// Delays each direction by so much: half a round trip.
    pub(crate) fn latency(mut self, each_way: Duration) -> Self {
        self.latency = each_way;
        self
    }

    /// Runs it as a job of `sh` with job control; `"$@"` in the script is the program with its arguments.
    pub(crate) fn job(mut self, script: &'static str) -> Self {
        self.script = Some(script);
        self
    }

    /// Starts it.
    #[expect(clippy::disallowed_methods, reason = "the program under test is a child")]
    pub(crate) fn start(self) -> Pty {
        let (columns, rows) = self.size;
        let (master, slave) = terminal(columns, rows);
        let end = || slave.try_clone().expect("a descriptor");
        // Makes its standard input its controlling terminal and becomes what follows.
        let mut command = Command::new("setsid");
        command.arg("--ctty");
        if let Some(script) = self.script {
            command.args(["sh", "-m", "-c", script, "sh"]);
        }
        command.arg(&self.program).args(&self.arguments).env_clear().envs(self.environment);
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn().expect("setsid (package util-linux) is not installed");
        let master = Arc::new(master);
        let stop = Arc::new(AtomicBool::new(false));
        let paused = Arc::new(AtomicBool::new(false));
        let pause = Arc::clone(&paused);
        let (heard, incoming) = mpsc::channel();
        let (outgoing, typed) = mpsc::channel();
        let ends = || (Arc::clone(&master), Arc::clone(&stop));
        let (near, wanted) = ends();
        let listener = thread::spawn(move || listen(&near, &wanted, &pause, &heard));
        let (near, wanted) = ends();
        let typist = thread::spawn(move || send(&near, &wanted, &typed));
        let threads = vec![listener, typist];
        Pty {
            child,
            line: Some(Line { master, slave, outgoing }),
            incoming,
            under_way: VecDeque::new(),
            latency: self.latency,
            parser: vt100::Parser::new(nonzero(rows), nonzero(columns), 0),
            received: Vec::new(),
            stop,
            paused,
            threads,
        }
    }
}

/// Both ends of a new terminal. No program that a test beside this one starts may inherit them, not for a moment: a
/// terminal is gone only when nobody holds its near end.
fn terminal(columns: u16, rows: u16) -> (OwnedFd, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).expect("a pseudo terminal");
    grantpt(&master).expect("its far end");
    unlockpt(&master).expect("its far end");
    let name = ptsname_r(&master).expect("its name");
    let mut options = OpenOptions::new();
    let slave = options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name);
    let master = OwnedFd::from(master);
    resize(&master, columns, rows);
    (master, slave.expect("the far end of a pseudo terminal").into())
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("resize the terminal");
}

fn nonzero(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).expect("a terminal has a size")
}

/// Passes on what the program writes, with the time when it came.
fn listen(master: &OwnedFd, stop: &AtomicBool, pause: &AtomicBool, heard: &Sender<(Instant, Vec<u8>)>) {
    let mut buffer = [0; 8192];
    while !stop.load(Ordering::SeqCst) {
        if pause.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(GLANCE.into()));
            continue;
        }
        let mut descriptors = [PollFd::new(std::os::fd::AsFd::as_fd(master), PollFlags::POLLIN)];
        if !matches!(poll(&mut descriptors, GLANCE), Ok(1..)) {
            continue;
        }
        let Ok(count) = read(master, &mut buffer) else { return };
        if heard.send((Instant::now(), buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

/// Types what is due.
fn send(master: &OwnedFd, stop: &AtomicBool, typed: &Receiver<(Instant, Vec<u8>)>) {
    while !stop.load(Ordering::SeqCst) {
        let (due, keys) = match typed.recv_timeout(Duration::from_millis(GLANCE.into())) {
            Ok(keys) => keys,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        let mut rest = keys.as_slice();
        while !rest.is_empty() {
            let Ok(count) = write(master, rest) else { return };
            rest = &rest[count..];
        }
    }
}

/// Our ends of the terminal.
#[derive(Debug)]
struct Line {
    master: Arc<OwnedFd>,
    /// Kept open, so that what the program wrote last is not lost with its end.
    slave: OwnedFd,
    outgoing: Sender<(Instant, Vec<u8>)>,
}

/// A program on a terminal. It is killed when the test ends.
pub(crate) struct Pty {
    child: Child,
    line: Option<Line>,
    incoming: Receiver<(Instant, Vec<u8>)>,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    latency: Duration,
    parser: vt100::Parser,
    received: Vec<u8>,
    stop: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Pty {
    fn line(&self) -> &Line {
        self.line.as_ref().expect("the test has hung up")
    }

    /// Types bytes as they are.
    pub(crate) fn send(&self, bytes: impl Into<Vec<u8>>) {
        let due = Instant::now() + self.latency;
        self.line().outgoing.send((due, bytes.into())).expect("the line is closed");
    }

    /// Presses a key: a character, or `enter`, `esc`, `tab`, `backtab`, `space`, `backspace`, `delete`, `up`, `down`,
    /// `left`, `right`, `home`, `end`, `pageup`, `pagedown`, `f1` to `f12`, `ctrl-x`, `alt-x`.
    pub(crate) fn press(&self, key: &str) {
        self.send(bytes_of(key));
    }

    /// Types text, key by key.
    pub(crate) fn type_text(&self, text: &str) {
        for character in text.chars() {
            self.send(character.to_string());
        }
    }

    /// Pastes text as a terminal with bracketed paste does.
    pub(crate) fn paste(&self, text: &str) {
        self.send(format!("\x1b[200~{text}\x1b[201~"));
    }

    /// Clicks with the left button on a cell, counted from 0.
    pub(crate) fn click(&self, column: u16, row: u16) {
        let (column, row) = (column + 1, row + 1);
        self.send(format!("\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m"));
    }

    /// Takes in what has arrived, and waits a little for more; false once nothing can come any more.
    fn pump(&mut self) -> bool {
        let arrived = self.incoming.recv_timeout(Duration::from_millis(5));
        let gone = matches!(arrived, Err(RecvTimeoutError::Disconnected));
        let more: Vec<_> = arrived.into_iter().chain(self.incoming.try_iter()).collect();
        self.under_way.extend(more.into_iter().map(|(at, bytes)| (at + self.latency, bytes)));
        while self.under_way.front().is_some_and(|(due, _)| *due <= Instant::now()) {
            let (_, bytes) = self.under_way.pop_front().expect("it was there");
            self.parser.process(&bytes);
            self.received.extend_from_slice(&bytes);
        }
        !(gone && self.under_way.is_empty())
    }

    /// Waits until the screen is as wanted; `what` names that where it never is.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, wanted: impl Fn(&Screen<'_>) -> bool, patience: Duration, what: &str) {
        let begun = Instant::now();
        while !wanted(&self.screen()) {
            let going_on = self.pump();
            assert!(
                going_on && begun.elapsed() < patience,
                "no {what} after {:?}{}; the screen is\n{}",
                begun.elapsed(),
                self.child
                    .try_wait()
                    .expect("the program")
                    .map_or_else(String::new, |end| format!(", {end}")),
                self.screen().frame(),
            );
        }
    }

    /// Waits until this text is on the screen.
    #[track_caller]
    pub(crate) fn wait_text(&mut self, text: &str) {
        self.wait_for(|screen| screen.has(text), PATIENCE, &format!("text {text:?}"));
    }

    /// Takes in what arrives within this time.
    pub(crate) fn watch(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time && self.pump() {}
    }

    /// The screen as it is now.
    pub(crate) fn screen(&self) -> Screen<'_> {
        Screen(self.parser.screen())
    }

    /// How many bytes the program has sent so far.
    pub(crate) fn received(&self) -> usize {
        self.received.len()
    }

    /// Whether the program has sent these bytes, with index `from` of all it sent or later.
    pub(crate) fn has_sent(&self, bytes: &[u8], from: usize) -> bool {
        self.received[from..].windows(bytes.len()).any(|window| window == bytes)
    }

    /// Changes the size of the terminal, as its window does.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        resize(&self.line().master, columns, rows);
        self.parser.screen_mut().set_size(nonzero(rows), nonzero(columns));
    }

    /// The modes of the terminal, to compare them before and after.
    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(&self.line().slave).expect("the terminal's modes")
    }

    /// The number of the process that was started: the program, or the shell of [`Launch::job`].
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process number")
    }

    /// Sends a signal to the job in the foreground.
    pub(crate) fn kill(&self, signal: Signal) {
        let job = tcgetpgrp(&*self.line().master).expect("the foreground job");
        kill(Pid::from_raw(job.as_raw()), signal).expect("signal the program");
    }

    /// Takes nothing from the program any more, as a terminal behind a stalled connection.
    pub(crate) fn stall(&self) {
        self.paused.store(true, Ordering::SeqCst);
        // It may be in the middle of a read.
        thread::park_timeout(Duration::from_millis(2 * u64::from(GLANCE)));
    }

    /// Takes what comes again.
    pub(crate) fn go_on(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }

    /// Closes the terminal, as a window or a lost connection does.
    pub(crate) fn hang_up(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread of the terminal");
        }
        drop(self.line.take());
    }

    /// Waits for the end of the program.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            self.pump();
            if let Some(status) = self.child.try_wait().expect("the program") {
                // What it wrote last may still be under way.
                self.watch(self.latency + Duration::from_millis(50));
                return status;
            }
            thread::park_timeout(Duration::from_millis(1));
            assert!(begun.elapsed() < PATIENCE, "it does not end; the screen is\n{}", self.screen().frame());
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().expect("kill the program");
            self.child.wait().expect("wait for the program");
        }
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// What a person would see.
pub(crate) struct Screen<'a>(&'a vt100::Screen);

impl Screen<'_> {
    /// All text, without blanks at the ends of lines.
    pub(crate) fn text(&self) -> String {
        self.0.contents()
    }

    /// Whether the text is there, within a line.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.text().lines().any(|line| line.contains(text))
    }

    /// Whether it is the alternate screen, which full-screen programs use.
    pub(crate) fn is_alternate(&self) -> bool {
        self.0.alternate_screen()
    }

    /// Row and column of the cursor, from 0; nothing if it is hidden.
    pub(crate) fn cursor(&self) -> Option<(u16, u16)> {
        (!self.0.hide_cursor()).then(|| self.0.cursor_position())
    }

    /// Whether pasted text is marked, and whether clicks are reported.
    pub(crate) fn paste_and_mouse(&self) -> (bool, bool) {
        (self.0.bracketed_paste(), self.0.mouse_protocol_mode() != vt100::MouseProtocolMode::None)
    }

    /// The cell, with its colours and attributes.
    pub(crate) fn cell(&self, row: u16, column: u16) -> &vt100::Cell {
        self.0.cell(row, column).expect("a cell of the screen")
    }

    /// Width and height, and the text between rules, for messages.
    pub(crate) fn frame(&self) -> String {
        let (rows, columns) = self.0.size();
        let rule = "-".repeat(usize::from(columns.get()));
        format!("{columns}x{rows}\n{rule}\n{}\n{rule}", self.text())
    }
}

fn bytes_of(key: &str) -> Vec<u8> {
    if let Some(letter) = key.strip_prefix("ctrl-") {
        let letter = letter.bytes().next().expect("a letter after ctrl-");
        return vec![letter.to_ascii_uppercase() & 0x1f];
    }
    if let Some(key) = key.strip_prefix("alt-") {
        return [b"\x1b".as_slice(), &bytes_of(key)].concat();
    }
    let named = match key {
        "enter" => "\r",
        "esc" => "\x1b",
        "tab" => "\t",
        "backtab" => "\x1b[Z",
        "space" => " ",
        "backspace" => "\x7f",
        "delete" => "\x1b[3~",
        "up" => "\x1b[A",
        "down" => "\x1b[B",
        "right" => "\x1b[C",
        "left" => "\x1b[D",
        "home" => "\x1b[H",
        "end" => "\x1b[F",
        "pageup" => "\x1b[5~",
        "pagedown" => "\x1b[6~",
        "f1" => "\x1bOP",
        "f2" => "\x1bOQ",
        "f3" => "\x1bOR",
        "f4" => "\x1bOS",
        "f5" => "\x1b[15~",
        "f6" => "\x1b[17~",
        "f7" => "\x1b[18~",
        "f8" => "\x1b[19~",
        "f9" => "\x1b[20~",
        "f10" => "\x1b[21~",
        "f11" => "\x1b[23~",
        "f12" => "\x1b[24~",
        _ => {
            assert_eq!(key.chars().count(), 1, "no key is called {key:?}");
            key
        }
    };
    named.into()
}
