//! A database on a free port of the loopback interface, for one test.

use std::net::SocketAddr;
use std::path::Path;

use database::Args;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running database.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    folder: TempDir,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Starts with the data in `folder`.
    pub(crate) async fn start(folder: TempDir) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let args = args(address, folder.path());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(database::serve(listener, args, async {
            drop(stopped.await);
        }));
        Self { address, folder, stop, task }
    }

    /// Stops gracefully and gives the data back.
    pub(crate) async fn stop(self) -> TempDir {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
        self.folder
    }
}

fn args(listen: SocketAddr, folder: &Path) -> Args {
    Args { listen, data_dir: folder.to_owned(), max_size: 64 }
}
