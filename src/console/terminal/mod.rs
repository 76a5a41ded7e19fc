//! The terminal of the console: taken over whole, given back whole, however the console ends.
//!
//! A [`Screen`] has the terminal from [`Screen::open`] to its drop. A panic anywhere in the process gives it back before
//! the message is printed; signals come as values of [`Signals`], so that the loop ends in order and the drop runs.
//! Nothing here decides what a key means or what is shown.

mod backend;
mod input;
mod signals;
mod tty;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal as UnixSignal, kill};
use nix::unistd::Pid;
use ratatui::{Frame, Terminal};

use self::backend::Canvas;
pub use self::input::Input;
pub use self::signals::{Signal, Signals};
use self::tty::Tty;
use super::clipboard::{self, Multiplexer};

/// How long the kernel may take to stop this process after it was asked to.
const STOPPING: Duration = Duration::from_millis(200);

/// A terminal that knows synchronized output shows what stands between these two at once (mode 2026); others ignore them.
const BEGIN_FRAME: &[u8] = b"\x1b[?2026h";
const END_FRAME: &[u8] = b"\x1b[?2026l";

/// Why the terminal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    /// Input or output goes elsewhere.
    #[error("the console needs a terminal, and standard {0} is none")]
    NoTerminal(&'static str),
    /// The window was closed or the connection lost.
    #[error("the terminal is gone")]
    HungUp,
    /// A panic has given the terminal back, or the caller has.
    #[error("the console no longer has the terminal")]
    GivenBack,
    /// Another screen of this process has the terminal.
    #[error("the console is open already")]
    Busy,
    /// The system refuses.
    #[error("cannot {action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl TerminalError {
    /// What the system's answer means; a terminal that is gone answers every question with EIO.
    fn system(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::EIO) => Self::HungUp,
            _ => Self::System { action, source },
        }
    }
}

/// What the caller chooses about the terminal.
#[derive(Debug, Clone, Default)]
pub struct ScreenOptions {
    /// Whether clicks are reported; the terminal's own selection of text needs Shift then.
    pub mouse: bool,
    /// A line that is printed after the message of a panic: where the recording lies.
    pub after_panic: Option<String>,
}

/// The terminal, while the console has it.
#[derive(Debug)]
pub struct Screen {
    terminal: Terminal<Canvas>,
    tty: Arc<Tty>,
    multiplexer: Multiplexer,
}

/// Whether standard input and output are a terminal; the error names the one that is not.
pub fn check() -> Result<(), TerminalError> {
    if !io::stdin().is_terminal() {
        return Err(TerminalError::NoTerminal("input"));
    }
    if !io::stdout().is_terminal() {
        return Err(TerminalError::NoTerminal("output"));
    }
    Ok(())
}

impl Screen {
    /// Takes the terminal. Inside a tokio runtime.
    pub fn open(options: ScreenOptions) -> Result<Self, TerminalError> {
        check()?;
        // With NO_COLOR set crossterm writes an empty sequence in place of a colour, which takes off reverse video and
        // bold as well. That there are no colours is the theme's business.
        crossterm::style::force_color_output(true);
        let tty = Arc::new(Tty::open().map_err(TerminalError::system("open the terminal"))?);
        hold(&tty, options.after_panic)?;
        let taken = TerminalError::system("take over the terminal");
        tty.set_mouse(options.mouse)?;
        let entered = tty.enter().and_then(|()| Terminal::new(Canvas::default()));
        let terminal = entered.map_err(|error| {
            release(&tty);
            taken(error)
        })?;
        Ok(Self { terminal, tty, multiplexer: Multiplexer::find() })
    }

    /// The signals of this process and the loss of this terminal.
    pub fn signals(&self) -> Result<Signals, TerminalError> {
        Signals::listen(Arc::clone(&self.tty))
    }

    /// What the user does. One at a time: two would share the keys.
    pub fn input(&self) -> Result<Input, TerminalError> {
        Input::listen(Arc::clone(&self.tty))
    }

    /// Draws a frame and sends what differs from the last one, as one write. While the terminal is behind
    /// ([`Self::is_behind`]) nothing is drawn: a slow line shows the newest state, not all that were before it.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> Result<(), TerminalError> {
        if self.tty.is_behind() {
            return Ok(());
        }
        #[cfg(debug_assertions)]
        panic_for_a_test();
        self.terminal.draw(render).map_err(TerminalError::system("draw"))?;
        let frame = self.terminal.backend_mut().take();
        if frame.is_empty() {
            return Ok(());
        }
        self.tty.send(&[BEGIN_FRAME, &frame, END_FRAME].concat())
    }

    /// Whether the terminal has not taken the last frame yet.
    pub fn is_behind(&self) -> bool {
        self.tty.is_behind()
    }

    /// Waits until the terminal has taken everything. May be dropped at any time. Draw again after it.
    pub async fn drained(&self) -> Result<(), TerminalError> {
        self.tty.drained().await
    }

    /// How many bytes the terminal has taken so far.
    pub fn bytes_written(&self) -> u64 {
        self.tty.accepted()
    }

    /// Switches the mouse on or off.
    pub fn set_mouse(&mut self, on: bool) -> Result<(), TerminalError> {
        self.tty.set_mouse(on)
    }

    /// Puts text on the clipboard of the terminal, if that allows it; it never answers.
    pub fn copy(&mut self, text: &str) -> Result<(), CopyError> {
        let sequence = clipboard::sequence(text, self.multiplexer)?;
        Ok(self.tty.send(&sequence)?)
    }

    /// The next frame is sent whole.
    pub fn redraw(&mut self) -> Result<(), TerminalError> {
        self.terminal.clear().map_err(TerminalError::system("clear the screen"))
    }

    /// Gives the terminal back, for another program. Nothing may wait for [`Input::next`] meanwhile, or it would take
    /// that program's keys.
    pub fn give_back(&mut self) {
        self.tty.leave();
    }

    /// Takes the terminal again; the next frame is sent whole. Also right where nobody asked before it was taken away
    /// ([`Signal::Continue`]).
    pub fn resume(&mut self) -> Result<(), TerminalError> {
        self.tty.enter().map_err(TerminalError::system("take over the terminal"))?;
        self.terminal.backend_mut().forget_cursor();
        self.redraw()
    }

    /// Ctrl-Z: gives the terminal back, stops the job, and when the shell continues it takes the terminal again.
    ///
    /// The whole process group is stopped, as a terminal would do it, so that a program that waits for this one stops
    /// too. Where no shell could continue it the kernel does not stop it (an orphaned group, setpgid(2)), and the
    /// console is back after a moment.
    pub async fn suspend(&mut self, signals: &mut Signals) -> Result<(), TerminalError> {
        self.tty.leave();
        let stopped = kill(Pid::from_raw(0), UnixSignal::SIGTSTP);
        // Any thread may be the one that the signal stops first; here this one waits for it.
        if tokio::time::timeout(STOPPING, signals.resume.recv()).await.is_err() {
            tracing::debug!(?stopped, "nobody stopped and continued this process");
        }
        self.resume()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        release(&self.tty);
    }
}

/// Why text was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It is too long.
    #[error(transparent)]
    TooLong(#[from] clipboard::TooLong),
    /// The terminal cannot be used.
    #[error(transparent)]
    Terminal(#[from] TerminalError),
}

/// The terminal that a panic gives back.
struct Held {
    tty: Arc<Tty>,
    after_panic: Option<String>,
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

fn hold(tty: &Arc<Tty>, after_panic: Option<String>) -> Result<(), TerminalError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let after = give_back_held();
            print(panic);
            if let Some(Err(error)) = after.map(|after| writeln!(io::stderr(), "{after}")) {
                tracing::debug!(%error, "standard error is closed");
            }
        }));
    });
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_some() {
        return Err(TerminalError::Busy);
    }
    *held = Some(Held { tty: Arc::clone(tty), after_panic });
    Ok(())
}

/// Gives the terminal back, if the console has it, and tells what to print after the message of the panic.
fn give_back_held() -> Option<String> {
    // Nobody holds this lock while anything could panic; if so, the message is worth more than the terminal.
    let held = HELD.try_lock().ok()?;
    let held = held.as_ref()?;
    held.tty.leave();
    held.after_panic.clone()
}

fn release(tty: &Tty) {
    tty.leave();
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The tests have no other way to see what a panic does to the terminal. In no build that is shipped.
#[cfg(debug_assertions)]
fn panic_for_a_test() {
    assert!(std::env::var_os("SQUALL_TEST_PANIC").is_none(), "a test asked for a panic");
}
