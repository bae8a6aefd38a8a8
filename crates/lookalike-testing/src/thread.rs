//! Servers on threads of their own, and the ports that they keep.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

/// Connections that may wait to be accepted.
const WAITING: u32 = 1024;

/// A port of this machine that stays ours while nothing listens on it.
///
/// Without that, a port that was let go might be given to anybody's outgoing connection before it
/// is listened on again. On Linux a bound socket that does not listen keeps it, and refuses
/// connections; elsewhere no second socket may be bound to the address, so there the port is only
/// remembered.
pub(crate) struct Port {
    address: SocketAddr,
    #[cfg(target_os = "linux")]
    _kept: TcpSocket,
}

impl Port {
    /// Takes the port, or any free one for `None`.
    ///
    /// # Panics
    ///
    /// If it is taken already.
    pub fn take(port: Option<u16>) -> Self {
        let socket = bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0)).into());
        let address = socket
            .local_addr()
            .expect("a bound socket knows its address");
        Self {
            address,
            #[cfg(target_os = "linux")]
            _kept: socket,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("cannot open a socket");
    socket
        .set_reuseaddr(true)
        .expect("cannot share the address");
    if let Err(error) = socket.bind(address) {
        panic!("cannot take {address}: {error}");
    }
    socket
}

/// Listens on an address; must be called within a runtime.
fn listen(address: SocketAddr) -> TcpListener {
    bind(address)
        .listen(WAITING)
        .unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"))
}

/// A server that runs until it is dropped; then all its connections are closed, wherever they were.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Runs what `serve` makes of the listener. Connections are accepted when this returns.
    pub fn start<F>(
        name: &str,
        port: &Port,
        serve: impl FnOnce(TcpListener) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()>,
    {
        let address = port.address();
        let (stop, stopped) = oneshot::channel();
        let (ready, listening) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .thread_name("testing")
                    .enable_all()
                    .build()
                    .expect("cannot start a runtime");
                runtime.block_on(async {
                    let listener = listen(address);
                    // Nobody waits if the test has ended meanwhile.
                    let _ = ready.send(());
                    tokio::select! {
                        () = serve(listener) => {}
                        _ = stopped => {}
                    }
                });
                // The tasks of all connections end here, and with them the connections.
            })
            .expect("cannot start a thread");
        listening
            .recv()
            .expect("the thread listens, or says why it cannot");
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) && !std::thread::panicking() {
            panic!("a server for tests has panicked; see above");
        }
    }
}
