//! Carport: how it is configured here, and as a part of this program, over a disk whose flushes take longer.

use std::path::Path;
use std::sync::Arc;

use carport::app::App;
use carport::config::{ConfigFile, Sources, load};
use carport::model::event::Grammar;
use carport::store::Settings;
use carport::web::server::Listener;
use carport::world::World;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::disk::Disk;
use crate::linking::key;
use crate::program::tell;
use crate::requests::TOKEN;

/// Where it keeps its data.
pub(crate) const DATA: &str = "carport-data";

/// The configuration. Nothing leaves the machine: all of Smartcar is a port on which nobody listens. All that is
/// not as by default is the size of the log, and that whoever has a token may read as much as the machine gives.
pub(crate) fn config(keep_events: usize) -> String {
    let nobody = ["connect", "auth", "iam", "api", "vehicle", "management", "management_v3"]
        .map(|origin| format!("{origin} = \"http://127.0.0.1:9\"\n"))
        .concat();
    format!(
        "listen = \"127.0.0.1:0\"\n\
         [smartcar]\napplication_id = \"51a0ca12-0000-4000-8000-000000000001\"\n\
         application_management_token = \"{TOKEN}\"\n\
         [smartcar.origins]\n{nobody}\
         [webhooks]\nkeep_events = {keep_events}\nkeep_bytes = \"1GiB\"\n\
         [limits]\napi = \"1000000/s\"\n\
         [key]\nsecret = \"{}\"\n",
        *key().print()
    )
}

/// Serves until killed.
pub(crate) fn serve(directory: &Path, delay_ms: u64) -> anyhow::Result<()> {
    // As the program's own.
    Builder::new_multi_thread().max_blocking_threads(6).enable_all().build()?.block_on(async {
        let file = ConfigFile::At(directory.join("config.toml"));
        let config = load(&Sources { file, directory: directory.to_owned(), ..Sources::default() })?;
        let disk = Disk::new(&directory.join(DATA));
        let mut app =
            App::build_over(&config, World::system()?, &key(), Arc::new(disk.clone()), Settings::default(), Grammar::CURRENT)
                .await?;
        app.bind(&config).await?;
        disk.slow_down(delay_ms);
        if let Some(address) = app.listeners().iter().find_map(Listener::address) {
            tell(address);
        }
        Ok(app.run(CancellationToken::new()).await?)
    })
}
