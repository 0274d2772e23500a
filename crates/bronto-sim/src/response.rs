//! Responses on the wire, whole or damaged.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::{self, StreamExt as _};

use crate::instant::UtcInstant;
use crate::settings::Failure;

const XML: &str = "text/xml;charset=UTF-8";
const HTML: &str = "text/html;charset=UTF-8";

/// How long a stalled call waits before it fails.
const STALL: Duration = Duration::from_secs(60);
/// The end of the endless body, should nobody hang up.
const ENDLESS_CHUNKS: usize = 1 << 14;
const CHUNK: usize = 1 << 16;

/// An answer on its way to the wire.
pub(crate) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
    gzipped: bool,
    delivery: Delivery,
}

/// How the body reaches the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Whole,
    /// The connection closes in the middle.
    Reset,
    /// Goes on for ever.
    Endless,
    /// Points to another host.
    Redirect,
    /// Waits before it comes.
    Stalled,
}

impl Reply {
    pub(crate) fn xml(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, content_type: XML, body, gzipped: false, delivery: Delivery::Whole }
    }

    /// What takes the place of an answer under this failure; none if the answer itself is damaged.
    pub(crate) fn in_place_of_answer(failure: Failure) -> Option<Self> {
        let page = |status, content_type, body: &str| Self {
            status,
            content_type,
            body: body.as_bytes().to_vec(),
            gzipped: false,
            delivery: Delivery::Whole,
        };
        let unavailable = "<html><head><title>503 Service Temporarily Unavailable</title></head>\
                           <body><h1>Service Temporarily Unavailable</h1></body></html>";
        let reply = match failure {
            Failure::Http500 => {
                page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "Internal Server Error")
            }
            Failure::Http503 => page(StatusCode::SERVICE_UNAVAILABLE, HTML, unavailable),
            Failure::Html => page(
                StatusCode::OK,
                HTML,
                "<!DOCTYPE html><html><head><title>Maintenance</title></head>\
                 <body><p>We'll be back &mdash; soon<br></body></html>",
            ),
            Failure::Empty => page(StatusCode::OK, XML, ""),
            Failure::Deep => Self::xml(StatusCode::OK, b"<a>".repeat(1_000_000)),
            Failure::Endless => {
                Self { delivery: Delivery::Endless, ..page(StatusCode::OK, XML, "") }
            }
            Failure::Redirect => Self {
                delivery: Delivery::Redirect,
                ..page(StatusCode::TEMPORARY_REDIRECT, HTML, "")
            },
            Failure::Stall => Self {
                delivery: Delivery::Stalled,
                ..page(StatusCode::SERVICE_UNAVAILABLE, HTML, unavailable)
            },
            Failure::Fault(_) | Failure::Truncated | Failure::Reset => return None,
        };
        Some(reply)
    }

    /// Damages an answer that was complete.
    pub(crate) fn damage(&mut self, failure: Failure) {
        match failure {
            Failure::Truncated => self.body.truncate(self.body.len() * 2 / 3),
            Failure::Reset => self.delivery = Delivery::Reset,
            _ => {}
        }
    }

    /// Compresses the body; fast rather than small.
    pub(crate) fn gzip(&mut self) -> io::Result<()> {
        if self.delivery == Delivery::Endless || self.body.is_empty() {
            return Ok(());
        }
        let mut encoder =
            GzEncoder::new(Vec::with_capacity(self.body.len() / 8), Compression::fast());
        encoder.write_all(&self.body)?;
        self.body = encoder.finish()?;
        self.gzipped = true;
        Ok(())
    }

    pub(crate) fn body_length(&self) -> usize {
        self.body.len()
    }

    /// The response, which may keep its client waiting.
    pub(crate) async fn send(self, now: UtcInstant, slow: Duration) -> Response {
        if self.delivery == Delivery::Stalled {
            tokio::time::sleep(STALL).await;
        }
        let middle = self.body.len() / 2;
        let body = Bytes::from(self.body);
        let body = match self.delivery {
            Delivery::Reset => {
                let broken = io::Error::new(io::ErrorKind::ConnectionReset, "Reset on purpose");
                // The failure follows after the first half has left, so that the client sees a body begin.
                let parts = stream::once(async move { Ok(body.slice(..middle)) }).chain(
                    stream::once(async move {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        Err(broken)
                    }),
                );
                Body::from_stream(parts)
            }
            Delivery::Endless => {
                let chunk = Bytes::from(b"<return><id>x</id></return>".repeat(CHUNK / 27));
                let chunks = (0..ENDLESS_CHUNKS).map(move |_| Ok::<_, Infallible>(chunk.clone()));
                Body::from_stream(stream::iter(chunks))
            }
            _ if slow.is_zero() => Body::from(body),
            _ => {
                let (first, second) = (body.slice(..middle), body.slice(middle..));
                let parts = stream::once(async move { Ok::<_, Infallible>(first) }).chain(
                    stream::once(async move {
                        tokio::time::sleep(slow).await;
                        Ok(second)
                    }),
                );
                Body::from_stream(parts)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.gzipped {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if self.delivery == Delivery::Redirect {
            let elsewhere = HeaderValue::from_static("http://redirected.example/v4");
            headers.insert(header::LOCATION, elsewhere);
        }
        set_date(&mut response, now);
        response
    }
}

/// Sets the `Date` of the simulated clock.
pub(crate) fn set_date(response: &mut Response, now: UtcInstant) {
    let date = now.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let date = HeaderValue::try_from(date).expect("a date is plain text");
    response.headers_mut().insert(header::DATE, date);
}
