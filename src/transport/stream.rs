//! The raw byte stream of an upgraded connection: TCP, or TLS over TCP. Nothing here waits.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll},
};

use rustls::ServerConnection;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use super::guard::AcceptGuard;

/// Most plain text handed to TLS at once; it is encrypted into a buffer that must drain first.
const TLS_PIECE: usize = 64 << 10;

/// The socket, its TLS state if it has one, and its place at the gate, which goes when it goes.
pub(super) struct RawStream {
    tcp: TcpStream,
    tls: Option<Box<ServerConnection>>,
    written: u64,
    _guard: AcceptGuard,
}

impl RawStream {
    pub(super) fn new(tcp: TcpStream, tls: Option<Box<ServerConnection>>, guard: AcceptGuard) -> RawStream {
        RawStream { tcp, tls, written: 0, _guard: guard }
    }

    /// Asks the kernel to buffer about `bytes` of outgoing data.
    pub(super) fn set_send_buffer(&self, bytes: usize) -> io::Result<()> {
        socket2::SockRef::from(&self.tcp).set_send_buffer_size(bytes)
    }

    /// Bytes the kernel has taken so far, encrypted where there is TLS: grows whenever there is progress.
    pub(super) fn progress(&self) -> u64 {
        self.written
    }

    /// Takes a first part of `bytes`. `WouldBlock` when the kernel's buffer is full.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            let n = self.tcp.try_write(bytes)?;
            self.written += n as u64;
            return Ok(n);
        };
        drain(tls, &self.tcp, &mut self.written)?;
        let piece = &bytes[..bytes.len().min(TLS_PIECE)];
        let n = tls.writer().write(piece)?;
        match drain(tls, &self.tcp, &mut self.written) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(n), // what is encrypted is owed; the next call starts with it
        }
    }

    /// Writes what TLS still holds. `WouldBlock` when not all of it could go.
    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => drain(tls, &self.tcp, &mut self.written),
            None => Ok(()),
        }
    }

    /// Whether TLS holds bytes that want to be written (an answer to a key update, for example).
    pub(super) fn owes(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Reads into `buf`, which is not empty; 0 is the peer's end. Registers for readability if there is nothing.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(tls) = &mut self.tls else {
            return poll_tcp(&mut self.tcp, cx, buf);
        };
        loop {
            match tls.reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Poll::Ready(Ok(0)),
                other => return Poll::Ready(other),
            }
            match tls.read_tls(&mut Reading { tcp: &mut self.tcp, cx }) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert that tells the peer why; it is gone anyway if this fails.
                let _ = drain(tls, &self.tcp, &mut self.written);
                return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, error)));
            }
        }
    }

    /// Reads and forgets whatever the peer still sends, without decrypting it. Ready at its end.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        loop {
            match poll_tcp(&mut self.tcp, cx, scratch) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready when the kernel takes bytes again.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// Says that nothing more will come: TLS close_notify, then FIN.
    pub(super) fn shutdown_write(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = drain(tls, &self.tcp, &mut self.written);
        }
        // An error means that the peer is gone already.
        let _ = socket2::SockRef::from(&self.tcp).shutdown(Shutdown::Write);
    }
}

fn poll_tcp(tcp: &mut TcpStream, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buf = ReadBuf::new(buf);
    match Pin::new(tcp).poll_read(cx, &mut buf) {
        Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().len())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    }
}

/// Writes everything that TLS has encrypted, or fails with `WouldBlock`.
fn drain(tls: &mut ServerConnection, tcp: &TcpStream, written: &mut u64) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut Writing(tcp))? {
            0 => return Err(ErrorKind::WriteZero.into()),
            n => *written += n as u64,
        }
    }
    Ok(())
}

struct Writing<'a>(&'a TcpStream);

impl Write for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Reading<'a, 'b> {
    tcp: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Read for Reading<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match poll_tcp(self.tcp, self.cx, buf) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }
}
