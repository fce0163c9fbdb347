//! A network between two peers that can fall silent: connections stay open, but nothing comes through any more.

use std::net::SocketAddr;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections on its own address to another one.
#[derive(Debug)]
pub struct Proxy {
    /// Where it accepts.
    pub address: SocketAddr,
    is_silent: watch::Sender<bool>,
}

impl Proxy {
    /// Accepts on a free port for `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_silent = watch::Sender::new(false);
        let silence = is_silent.subscribe();
        tokio::spawn(async move {
            while let Ok((peer, _)) = listener.accept().await {
                tokio::spawn(forward(peer, target, silence.clone()));
            }
        });
        Self { address, is_silent }
    }

    /// From now on nothing comes through, also of new connections, which are accepted all the same.
    pub fn fall_silent(&self) {
        self.is_silent.send_replace(true);
    }
}

/// Forwards one connection. Silent, it keeps both sockets open until the test ends.
async fn forward(mut peer: TcpStream, target: SocketAddr, mut silence: watch::Receiver<bool>) {
    let forwarding = async {
        if let Ok(mut other) = TcpStream::connect(target).await {
            let copying = copy_bidirectional(&mut peer, &mut other);
            tokio::select! {
                // Nothing may slip through after the silence began.
                biased;
                () = fallen(&mut silence) => {}
                _ = copying => return,
            }
            std::future::pending::<()>().await;
        }
    };
    forwarding.await;
}

async fn fallen(silence: &mut watch::Receiver<bool>) {
    if silence.wait_for(|is_silent| *is_silent).await.is_err() {
        std::future::pending::<()>().await;
    }
}
