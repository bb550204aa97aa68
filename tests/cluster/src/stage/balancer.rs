//! What a service is to the API server: one address that leads to any of several replicas.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::net::{TcpListener, TcpStream};

/// Forwards each new connection to the next replica; closes it when there is none. Open connections stay where they are.
pub struct Balancer {
    address: SocketAddr,
    replicas: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    /// At an address of its own, without replicas.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replicas = Arc::<Mutex<Vec<String>>>::default();
        let (known, turn) = (Arc::clone(&replicas), AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let replicas = known.lock().unwrap().clone();
                let turn = turn.fetch_add(1, Ordering::Relaxed);
                let Some(replica) = replicas.get(turn.checked_rem(replicas.len()).unwrap_or_default()).cloned() else {
                    continue;
                };
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(replica).await {
                        drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        Self { address, replicas }
    }

    /// What the API server is told.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// From now on this replica gets its share, by its address.
    pub fn add(&self, replica: &str) {
        self.replicas.lock().unwrap().push(replica.to_owned());
    }

    /// From now on this replica gets no new connections.
    pub fn remove(&self, replica: &str) {
        self.replicas.lock().unwrap().retain(|known| known != replica);
    }
}
