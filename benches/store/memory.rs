//! What the running program takes of memory: with a full log, after many have delivered at once.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use bytes::Bytes;
use carport::model::Secret;
use carport::signature;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::event::Events;
use crate::job::Figures;
use crate::load::runtime;
use crate::measure::figures;
use crate::scratch::Scratch;

const TOKEN: &str = "51a0ca12-0000-4000-8000-000000000005";

/// Nothing here leaves the machine: all of Smartcar is a port on which nobody listens.
const CONFIG: &str = r#"
[smartcar]
application_id = "51a0ca12-0000-4000-8000-000000000001"
application_management_token = "51a0ca12-0000-4000-8000-000000000005"
[smartcar.origins]
connect = "http://127.0.0.1:9"
auth = "http://127.0.0.1:9"
iam = "http://127.0.0.1:9"
api = "http://127.0.0.1:9"
vehicle = "http://127.0.0.1:9"
management = "http://127.0.0.1:9"
management_v3 = "http://127.0.0.1:9"
"#;

/// The log's default.
const RING: u64 = 10_000;

/// How much each connection delivers in the burst.
const EACH: u64 = 40;

/// Resident bytes after the burst, while its connections are still there.
pub(crate) fn after_burst(connections: u64) -> anyhow::Result<Figures> {
    let scratch = Scratch::new()?;
    fs::write(scratch.0.join("config.toml"), CONFIG)?;
    let server = Server::start(&scratch)?;
    runtime()?.block_on(async {
        let events = Events { seed: 1, vehicles: 500 };
        let idle = server.status("VmRSS:")?;
        drop(deliver(server.address, events, 16, 0..RING).await?);
        let full = server.status("VmRSS:")?;
        let open = deliver(server.address, events, connections, RING..RING + EACH * connections).await?;
        let (resident, program) = (server.status("VmRSS:")?, server.status("RssFile:")?);
        drop(open);
        Ok(figures([("idle", idle), ("full", full), ("resident", resident), ("program", program)]))
    })
}

/// The program; killed when this goes.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Were it closed, the program would have nobody to talk to.
    said: Lines<BufReader<ChildStdout>>,
}

impl Server {
    fn start(scratch: &Scratch) -> anyhow::Result<Server> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carport"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(&scratch.0).env_clear();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let said = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut server = Server { child, said, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        while server.address.port() == 0 {
            let line = server.said.next().context("carport does not listen")??;
            if let Some((_, address)) = line.split_once("listening  ") {
                server.address = address.trim().parse()?;
            }
        }
        Ok(server)
    }

    /// A line of the process's status, in bytes.
    fn status(&self, name: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a line is missing")?;
        let kib: f64 = line.trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Line = SendRequest<Full<Bytes>>;

/// Delivers events of these numbers over so many connections, which it returns.
async fn deliver(to: SocketAddr, events: Events, connections: u64, numbers: std::ops::Range<u64>) -> anyhow::Result<Vec<Line>> {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let callers: Vec<_> = (0..connections)
        .map(|_| {
            let next = next.clone();
            tokio::spawn(async move {
                let (mut line, connection) = handshake(TokioIo::new(TcpStream::connect(to).await?)).await?;
                tokio::spawn(connection);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return Ok::<_, anyhow::Error>(line);
                    }
                    post(&mut line, events.event(number).body).await?;
                }
            })
        })
        .collect();
    let mut open = Vec::new();
    for caller in callers {
        open.push(caller.await??);
    }
    Ok(open)
}

async fn post(line: &mut Line, body: Vec<u8>) -> anyhow::Result<()> {
    // The answer to a challenge is the same function as the signature of a body.
    let signature = signature::answer(&Secret::new(TOKEN), std::str::from_utf8(&body)?);
    let request = Request::post("/api/webhooks/smartcar").header(header::HOST, "localhost").header("sc-signature", signature);
    line.ready().await?;
    let answer = line.send_request(request.body(Full::new(body.into()))?).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    ensure!(status == 200, "a delivery was answered with {status}");
    Ok(())
}
