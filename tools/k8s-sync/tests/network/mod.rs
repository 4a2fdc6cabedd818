//! The network between k8s-sync and the API server, which can break, fall silent and forget.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// What becomes of connections and of what is sent over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Everything arrives.
    Fair,
    /// Connections break, and new ones are closed at once.
    Broken,
    /// Nothing arrives, and nobody is told.
    Silent,
    /// As a router that has forgotten: nothing arrives over the connections that there are, and nobody is told; those made
    /// from now on are as good as ever.
    Forgetful,
}

/// A relay on loopback, and a kubeconfig that goes through it.
pub(crate) struct Network {
    pub(crate) kubeconfig: PathBuf,
    state: Arc<State>,
}

struct State {
    weather: Mutex<Weather>,
    changed: Condvar,
    /// How many connections there have been.
    made: AtomicUsize,
    /// The first connection that is not forgotten.
    known: AtomicUsize,
    connections: Mutex<Vec<TcpStream>>,
}

impl Network {
    /// Lies between whoever uses the kubeconfig in this folder and the server of the one that is given.
    pub(crate) fn start(kubeconfig: &str, folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let server = text.split("https://").nth(1).unwrap().lines().next().unwrap().to_owned();
        let through = folder.join(format!("through-{}.kubeconfig", address.port()));
        std::fs::write(&through, text.replace(&server, &address.to_string())).unwrap();
        let state = Arc::new(State {
            weather: Mutex::new(Weather::Fair),
            changed: Condvar::new(),
            made: AtomicUsize::new(0),
            known: AtomicUsize::new(0),
            connections: Mutex::default(),
        });
        let network = Self { kubeconfig: through, state: state.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if *state.weather.lock().unwrap() == Weather::Broken {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let number = state.made.fetch_add(1, Ordering::SeqCst);
                let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                state.connections.lock().unwrap().extend(both);
                let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (there, back) = (state.clone(), state.clone());
                std::thread::spawn(move || there.carry(number, client, server));
                std::thread::spawn(move || back.carry(number, server_too, client_too));
            }
        });
        network
    }

    /// How many connections there have been.
    pub(crate) fn made(&self) -> usize {
        self.state.made.load(Ordering::SeqCst)
    }

    pub(crate) fn becomes(&self, weather: Weather) {
        if weather == Weather::Forgetful {
            self.state.known.store(self.made(), Ordering::SeqCst);
        }
        *self.state.weather.lock().unwrap() = weather;
        self.state.changed.notify_all();
        let mut connections = self.state.connections.lock().unwrap();
        if weather == Weather::Broken {
            for connection in connections.drain(..) {
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
        connections.retain(|connection| connection.peer_addr().is_ok());
    }
}

impl State {
    fn carry(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let silent = |weather: &mut Weather| {
                *weather == Weather::Silent || number < self.known.load(Ordering::SeqCst)
            };
            drop(self.changed.wait_while(self.weather.lock().unwrap(), silent).unwrap());
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }
}
