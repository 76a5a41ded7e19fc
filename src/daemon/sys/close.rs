//! Closing what the kernel takes its time for.
//!
//! After a table was changed, the end of a netfilter socket waits until no processor can see the old rules any more
//! (`nft_rcv_nl_event`, `net/netfilter/nf_tables_api.c`), some 10 ms. Nobody needs to wait with it: what the socket
//! held was given up before.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How many things may be closing at a time. With more, the caller waits for its own.
const MOST: usize = 64;

/// How many are.
static CLOSING: AtomicUsize = AtomicUsize::new(0);

/// Drops it on a thread of its own.
pub fn close_aside(what: impl Send + 'static) {
    let closing = Closing::begin();
    if closing.others >= MOST {
        return; // `what` is dropped before `closing`: here
    }
    let work = move || {
        drop(what);
        drop(closing);
    };
    if let Err(error) = thread::Builder::new().name("close".to_owned()).spawn(work) {
        tracing::debug!(error = &error as &dyn Error, "no thread to close sockets on");
    }
}

/// Counts one, until it is dropped.
struct Closing {
    others: usize,
}

impl Closing {
    fn begin() -> Self {
        Self { others: CLOSING.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        CLOSING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Says so when it is dropped, once it may.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<thread::ThreadId>);

    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.recv().unwrap();
            self.1.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn nobody_waits_until_too_many_do() {
        let (dropped, by) = mpsc::channel();
        let slow = || {
            let (go, may_go) = mpsc::channel();
            (go, Slow(may_go, dropped.clone()))
        };
        let under_way: Vec<_> = (0..MOST)
            .map(|_| {
                let (go, slow) = slow();
                close_aside(slow);
                go
            })
            .collect();
        let (go, one_more) = slow();
        go.send(()).unwrap();
        close_aside(one_more);
        assert_eq!(by.try_recv(), Ok(thread::current().id()), "the caller closes it itself");
        for go in &under_way {
            go.send(()).unwrap();
        }
        for _ in 0..MOST {
            assert_ne!(by.recv().unwrap(), thread::current().id());
        }
    }
}
