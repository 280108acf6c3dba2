//! Readers that page through the log, one page after the other, for as long as something else is measured.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::burst::open;

const PAGE: usize = 50;

/// Readers at work.
#[derive(Debug)]
pub(crate) struct Readers {
    tasks: JoinSet<anyhow::Result<()>>,
    stop: Arc<AtomicBool>,
    pages: Arc<AtomicUsize>,
}

impl Readers {
    /// So many, each from another place of a log with so many entries, from new to old, again and again.
    pub(crate) async fn start(to: SocketAddr, token: &str, readers: usize, entries: usize) -> anyhow::Result<Readers> {
        let (mut tasks, stop, pages) = (JoinSet::new(), Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        for (number, mut line) in open(to, readers).await?.into_iter().enumerate() {
            let (token, stop, pages) = (token.to_owned(), stop.clone(), pages.clone());
            tasks.spawn(async move {
                let mut before = entries * (number + 1) / readers;
                while !stop.load(Ordering::Relaxed) {
                    let status = line.ask(page(&token, before).as_bytes()).await?;
                    ensure!(status == 200, "a page was answered with {status}");
                    pages.fetch_add(1, Ordering::Relaxed);
                    before = if before > 2 * PAGE { before - PAGE } else { entries };
                }
                Ok(())
            });
        }
        Ok(Readers { tasks, stop, pages })
    }

    /// Ends them; returns how many pages they have read.
    pub(crate) async fn stop(mut self) -> anyhow::Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(self.pages.load(Ordering::Relaxed))
    }
}

fn page(token: &str, before: usize) -> String {
    format!(
        "GET /api/v1/webhooks?limit={PAGE}&before={before} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    )
}
