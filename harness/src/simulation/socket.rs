//! Simulated connections as the service takes them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use turmoil::net::{TcpListener, TcpStream};

/// One accepted connection.
#[derive(Debug)]
pub struct Socket(TcpStream);

/// What a host accepts on this port, as long as it runs.
///
/// # Errors
/// The port is taken.
pub async fn incoming(port: u16) -> io::Result<impl Stream<Item = io::Result<Socket>> + Send + 'static> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let (sender, accepted) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let connection = listener.accept().await.map(|(stream, _)| Socket(stream));
            if sender.send(connection).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(accepted))
}

impl Connected for Socket {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
