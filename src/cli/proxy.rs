//! `carport config proxy`: what to write into the proxy in front of Carport. Each of them sets
//! `X-Forwarded-For` and `X-Forwarded-Proto` itself and takes `Forwarded` away, which clients could forge.
//!
//! SECURITY: whoever `auth.forward_header` names may do everything. Each block takes that header away too, before the
//! place where the owner's sign-in sets it.

use http::header::HeaderName;
use url::Url;

use super::args::Proxy;
use super::print::say;
use super::{Exit, Failure};
use crate::config::{Config, Listen};
use crate::web::LONGEST_FORM;

/// Prints the proxy's side, and below it Carport's if that is missing.
pub(super) fn proxy(which: Proxy, config: &Config) -> Result<(), Failure> {
    if config.tls.is_some() {
        let sentence = "Carport ends TLS itself (tls.mode), so there is nothing for a proxy to do: set tls.mode = \"off\" first to put one in \
                        front. One that passes TLS through needs proxy_protocol and trusted_proxies instead";
        return Err(Failure::new(Exit::Configuration, sentence));
    }
    if matches!(which, Proxy::Traefik) && tcp(config).is_none() {
        let sentence = "Traefik knows no socket files, and listen has nothing else: add an address, such as \"127.0.0.1:8000\"";
        return Err(Failure::new(Exit::Configuration, sentence));
    }
    say(&block(which, config))?;
    if config.public_url.scheme() != "https" {
        let name = Site::of(&config.public_url).name;
        eprintln!("public_url is not https: set it to the proxy's address first, such as https://{name}");
    }
    if config.trusted_proxies.is_empty() {
        eprintln!(
            "Carport's side, in its configuration: trusted_proxies = [\"127.0.0.1\"], or whatever address the proxy comes from"
        );
    }
    Ok(())
}

fn block(which: Proxy, config: &Config) -> String {
    let site = Site::of(&config.public_url);
    let upstream = config.listen.first();
    let named = config.forward_header.as_ref().map(HeaderName::as_str);
    match which {
        Proxy::Caddy => caddy(&site, upstream, named),
        Proxy::Nginx => nginx(&site, upstream, config.webhooks.max_body.max(LONGEST_FORM as u64), named),
        Proxy::Traefik => traefik(&site.name, tcp(config), named),
    }
}

/// The first address that is no socket file.
fn tcp(config: &Config) -> Option<&Listen> {
    config.listen.iter().find(|listen| matches!(listen, Listen::Tcp(_)))
}

/// Caddy sets the forwarding headers by itself, and gets the certificate too. `named` is the header of the sign-in; the
/// order of what is to do with it holds within `route` only.
fn caddy(Site { name, port }: &Site, upstream: Option<&Listen>, named: Option<&str>) -> String {
    let upstream = match upstream {
        Some(Listen::Unix(path)) => format!("unix/{}", path.display()),
        tcp => authority(tcp),
    };
    let port = if *port == HTTPS { String::new() } else { format!(":{port}") };
    let Some(named) = named else {
        return format!("{name}{port} {{\n\treverse_proxy {upstream} {{\n\t\theader_up -Forwarded\n\t}}\n}}");
    };
    format!(
        "{name}{port} {{
\troute {{
\t\t# Clients could send it themselves.
\t\trequest_header -{named}
\t\t# Your sign-in sets it here: forward_auth with copy_headers {named}
\t\treverse_proxy {upstream} {{
\t\t\theader_up -Forwarded
\t\t}}
\t}}
}}"
    )
}

/// The names of the certificate's files are certbot's.
fn nginx(Site { name, port }: &Site, upstream: Option<&Listen>, max_body: u64, named: Option<&str>) -> String {
    let upstream = match upstream {
        Some(Listen::Unix(path)) => format!("http://unix:{}", path.display()),
        tcp => format!("http://{}", authority(tcp)),
    };
    let named = named.map_or_else(String::new, |named| {
        format!(
            "
        # Clients could send it themselves. Instead of \"\" comes what your sign-in says, such as $user with
        # auth_request_set $user $upstream_http_{};
        proxy_set_header {named} \"\";",
            named.replace('-', "_")
        )
    });
    format!(
        "server {{
    listen {port} ssl;
    listen [::]:{port} ssl;
    server_name {name};
    ssl_certificate /etc/letsencrypt/live/{name}/fullchain.pem;
    ssl_certificate_key /etc/letsencrypt/live/{name}/privkey.pem;
    client_max_body_size {max_body};

    location / {{
        proxy_pass {upstream};
        proxy_http_version 1.1;
        proxy_buffering off;
        proxy_set_header Connection \"\";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Forwarded \"\";{named}
    }}
}}"
    )
}

/// A file of Traefik's file provider. It knows no Unix sockets. Middlewares work in the order of their list.
fn traefik(name: &str, upstream: Option<&Listen>, named: Option<&str>) -> String {
    let upstream = authority(upstream);
    let (list, taken) = named.map_or_else(Default::default, |named| {
        (
            format!(
                "
      # Behind it in this list comes your sign-in: forwardAuth with authResponseHeaders: [\"{named}\"]"
            ),
            format!(
                "
          # Clients could send it themselves.
          {named}: \"\""
            ),
        )
    });
    format!(
        "http:
  routers:
    carport:
      rule: \"Host(`{name}`)\"
      entryPoints: [\"websecure\"]{list}
      middlewares: [\"carport-forwarding\"]
      service: \"carport\"
      tls:
        certResolver: \"letsencrypt\"
  middlewares:
    carport-forwarding:
      headers:
        customRequestHeaders:
          Forwarded: \"\"{taken}
  services:
    carport:
      loadBalancer:
        servers:
          - url: \"http://{upstream}\""
    )
}

/// Where the proxy finds Carport: an address for all is reached by loopback.
fn authority(listen: Option<&Listen>) -> String {
    match listen {
        Some(Listen::Tcp(address)) if address.ip().is_unspecified() => format!("127.0.0.1:{}", address.port()),
        Some(Listen::Tcp(address)) => address.to_string(),
        Some(Listen::Unix(_)) | None => "127.0.0.1:8000".to_owned(),
    }
}

/// Where people find the proxy.
struct Site {
    name: String,
    port: u16,
}

impl Site {
    /// As `public_url` has it; a name that shows where it belongs while that is only of this machine.
    fn of(public_url: &Url) -> Site {
        let name = public_url.host_str().filter(|name| *name != "localhost").unwrap_or("cars.example.org").to_owned();
        let port = public_url.port().filter(|_| public_url.scheme() == "https").unwrap_or(HTTPS);
        Site { name, port }
    }
}

const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn site(url: &str) -> Site {
        Site::of(&url.parse().unwrap())
    }

    fn at(address: &str) -> Listen {
        Listen::Tcp(address.parse().unwrap())
    }

    #[test]
    fn caddy_knows_ports_and_sockets() {
        let block = caddy(&site("https://cars.example.org"), Some(&at("127.0.0.1:8000")), None);
        assert_eq!(block, "cars.example.org {\n\treverse_proxy 127.0.0.1:8000 {\n\t\theader_up -Forwarded\n\t}\n}");
        let block = caddy(&site("https://cars.example.org:8443"), Some(&Listen::Unix("/run/carport.sock".into())), None);
        assert!(block.starts_with("cars.example.org:8443 {\n\treverse_proxy unix//run/carport.sock {"), "{block}");
        assert!(caddy(&site("http://localhost:8000"), Some(&at("[::]:9000")), None).contains("cars.example.org {"));
    }

    #[test]
    fn nginx_overwrites_what_clients_could_forge() {
        let block = nginx(&site("https://cars.example.org"), Some(&at("0.0.0.0:8000")), 65_536, None);
        expect![[r#"
            server {
                listen 443 ssl;
                listen [::]:443 ssl;
                server_name cars.example.org;
                ssl_certificate /etc/letsencrypt/live/cars.example.org/fullchain.pem;
                ssl_certificate_key /etc/letsencrypt/live/cars.example.org/privkey.pem;
                client_max_body_size 65536;

                location / {
                    proxy_pass http://127.0.0.1:8000;
                    proxy_http_version 1.1;
                    proxy_buffering off;
                    proxy_set_header Connection "";
                    proxy_set_header Host $http_host;
                    proxy_set_header X-Forwarded-For $remote_addr;
                    proxy_set_header X-Forwarded-Proto $scheme;
                    proxy_set_header Forwarded "";
                }
            }"#]]
        .assert_eq(&block);
    }

    #[test]
    fn traefik_takes_forwarded_away() {
        let block = traefik("cars.example.org", Some(&at("[::1]:8000")), None);
        assert!(block.contains("rule: \"Host(`cars.example.org`)\"") && block.contains("url: \"http://[::1]:8000\""), "{block}");
        assert!(block.contains("          Forwarded: \"\"\n"), "{block}");
    }

    /// Whoever it names may do everything: what clients send is taken away first, and the sign-in's word comes after.
    #[test]
    fn the_header_of_the_sign_in_is_taken_from_clients() {
        let (site, upstream) = (site("https://cars.example.org"), at("127.0.0.1:8000"));
        expect![[r"
            cars.example.org {
            	route {
            		# Clients could send it themselves.
            		request_header -remote-user
            		# Your sign-in sets it here: forward_auth with copy_headers remote-user
            		reverse_proxy 127.0.0.1:8000 {
            			header_up -Forwarded
            		}
            	}
            }"]]
        .assert_eq(&caddy(&site, Some(&upstream), Some("remote-user")));
        let block = nginx(&site, Some(&upstream), 65_536, Some("remote-user"));
        let taken = block.split_once("proxy_set_header Forwarded \"\";").unwrap().1;
        expect![[r#"

                    # Clients could send it themselves. Instead of "" comes what your sign-in says, such as $user with
                    # auth_request_set $user $upstream_http_remote_user;
                    proxy_set_header remote-user "";
                }
            }"#]]
        .assert_eq(taken);
        let block = traefik("cars.example.org", Some(&upstream), Some("remote-user"));
        assert!(
            block.contains(
                "          Forwarded: \"\"\n          # Clients could send it themselves.\n          remote-user: \"\"\n"
            ),
            "{block}"
        );
        let list = "      # Behind it in this list comes your sign-in: forwardAuth with authResponseHeaders: [\"remote-user\"]\n      middlewares:";
        assert!(block.contains(list), "{block}");
    }
}
