//! A door from this process's network into that of a ring.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    sync::mpsc,
    thread::JoinHandle,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::Error;

/// Listens on loopback here and connects inside. A thread does both: its listener was made before it moved in, its connections are
/// made afterwards, so that the machine needs no link and no address for it. Everything is closed when this is dropped.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    // Dropped first: that is what ends the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Forward {
    /// Opens a door to `inside`, an address in the network of the process `pid`.
    pub(crate) fn open(pid: u32, inside: SocketAddr) -> Result<Self, Error> {
        let broken = |source| Error::Io { what: format!("there is no way to {inside} inside the ring"), source };
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(broken)?;
        listener.set_nonblocking(true).map_err(broken)?;
        let address = listener.local_addr().map_err(broken)?;
        let network = File::open(format!("/proc/{pid}/ns/net")).map_err(broken)?;
        let (end, ended) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let moved = move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            match moved.map_err(std::io::Error::from).and(runtime) {
                Ok(runtime) => {
                    drop(tell.send(Ok(())));
                    runtime.block_on(serve(listener, inside, ended));
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        });
        let forward = Self { address, end: Some(end), thread: Some(thread) };
        // The thread always says something, unless it panicked.
        told.recv().unwrap_or_else(|gone| Err(std::io::Error::other(gone))).map_err(broken)?;
        Ok(forward)
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn serve(listener: std::net::TcpListener, inside: SocketAddr, mut ended: oneshot::Receiver<()>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        tokio::select! {
            _ = &mut ended => return,
            accepted = listener.accept() => {
                let Ok((mut outer, _)) = accepted else { continue };
                tokio::spawn(async move {
                    if let Ok(mut inner) = TcpStream::connect(inside).await {
                        drop(tokio::io::copy_bidirectional(&mut outer, &mut inner).await);
                    }
                });
            }
        }
    }
}
