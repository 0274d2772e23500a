//! One HTTP exchange: an envelope out, a whole body in, within limits.

use std::error::Error;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use reqwest::{Response, StatusCode};

use crate::bodies::{Bodies, Body, PATIENCE, SMALL};
use crate::config::{ClientConfig, RootCertificate};
use crate::decode::AnswerDefect;
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::inflow::{Inflow, InflowError};
use crate::request::Function;
use crate::resolver::OfHost;

/// The way to the service.
pub(crate) struct Transport {
    http: reqwest::Client,
    endpoint: Endpoint,
    connect_timeout: Duration,
    request_timeout: Duration,
    max_response_bytes: usize,
    bodies: Bodies,
}

/// What came with a body.
pub(crate) struct Exchange {
    pub(crate) status: StatusCode,
    /// The service's clock.
    pub(crate) server_date: Option<DateTime<Utc>>,
    /// How long the service asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The encoding that the header names.
    pub(crate) charset: Option<String>,
}

impl Transport {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let roots = config.root_certificates.iter().map(RootCertificate::certificate);
        let mut builder = reqwest::Client::builder()
            .user_agent(config.user_agent.as_str())
            .default_headers(headers(config.compression))
            // Decompression is done here, straight into the body.
            .no_gzip()
            .connect_timeout(config.connect_timeout)
            .timeout(config.request_timeout)
            // A token must not travel anywhere but to the endpoint.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // Repeating is decided in one place, which knows what may be repeated.
            .retry(reqwest::retry::never());
        if config.endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        if let Some(resolver) = config.resolver.clone() {
            let host = config.endpoint.host().to_owned();
            builder = builder.dns_resolver(Arc::new(OfHost { host, resolver }));
        }
        builder = if config.endpoint.is_encrypted() {
            builder.https_only(true).tls_certs_merge(roots)
        } else {
            // No TLS, so the system's certificates aren't needed, and needn't be there.
            builder.tls_certs_only(roots)
        };
        let http = builder.build().map_err(|error| ClientError::BadSetting {
            host: config.endpoint.host().to_owned(),
            source: Box::new(error),
        })?;
        Ok(Self {
            http,
            endpoint: config.endpoint.clone(),
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            max_response_bytes: config.max_response_bytes,
            bodies: Bodies::new(PATIENCE),
        })
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends an envelope and receives the whole answer, whatever its status.
    pub(crate) async fn post(
        &self,
        function: Function,
        envelope: String,
    ) -> Result<(Exchange, Body<'_>), ClientError> {
        let request = self.http.post(self.endpoint.url().clone()).body(envelope);
        let mut response = request.send().await.map_err(|error| self.failure(function, error))?;
        if response.status().is_redirection() {
            return Err(self.redirect(function, &response));
        }
        let limit = self.max_response_bytes;
        let spoiled = |error| match error {
            InflowError::TooLarge => ClientError::TooLarge { function, limit },
            InflowError::Damaged => {
                ClientError::BadAnswer { function, source: AnswerDefect::Compression }
            }
        };
        let mut body = self.bodies.lend(function);
        let filled = self.fill(function, &mut response, &mut body).await?;
        if let Err(error) = filled {
            // The status of a failure says more than a body that can't be read, and may ask to wait.
            if response.status().is_success() {
                return Err(spoiled(error));
            }
            body.bytes.clear();
        }
        Ok((exchange(response.status(), response.headers()), body))
    }

    /// Receives a body, unless it is too large or damaged.
    async fn fill(
        &self,
        function: Function,
        response: &mut Response,
        body: &mut Body<'_>,
    ) -> Result<Result<(), InflowError>, ClientError> {
        let Body { bytes, packed, claim } = body;
        *packed = claim.packed_memory();
        let mut inflow = Inflow::new(response.headers(), bytes, packed, self.max_response_bytes);
        let mut needs_memory = true;
        if let Some(size) = inflow.foreseen() {
            claim.grow_to(size).await;
        }
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.failure(function, error))?
        {
            if let Err(error) = inflow.take(&chunk) {
                return Ok(Err(error));
            }
            claim.grow(inflow.len()).await;
            if inflow.len() > SMALL && !inflow.is_packed() && mem::take(&mut needs_memory) {
                inflow.go_on_in(claim.memory(inflow.foreseen()));
            }
        }
        if inflow.is_packed() {
            let size = inflow.foreseen().unwrap_or(0);
            claim.grow_to(size).await;
            if size > SMALL {
                inflow.go_on_in(claim.memory(Some(size)));
            }
        }
        Ok(inflow.finish())
    }

    fn redirect(&self, function: Function, response: &Response) -> ClientError {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target = location.and_then(|text| self.endpoint.url().join(text).ok());
        let target = target.as_ref().and_then(reqwest::Url::host_str);
        ClientError::Redirect {
            host: self.endpoint.host().to_owned(),
            function,
            target: target.unwrap_or("nowhere").to_owned(),
        }
    }

    /// What an error of the HTTP client means.
    fn failure(&self, function: Function, error: reqwest::Error) -> ClientError {
        let host = self.endpoint.host().to_owned();
        if error.is_timeout() {
            let limit =
                if error.is_connect() { self.connect_timeout } else { self.request_timeout };
            return ClientError::Timeout { host, function, limit };
        }
        let (is_connect, is_tls) = (error.is_connect(), is_tls(&error));
        let source = Box::new(error.without_url());
        match (is_connect, is_tls) {
            (true, true) => ClientError::Tls { host, source },
            (true, false) => ClientError::Unreachable { host, source },
            (false, _) => ClientError::Reset { host, function, source },
        }
    }
}

/// The headers of every request.
fn headers(compression: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if compression {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/xml"));
    // SOAP 1.1 wants the quotes; Bronto's WSDL says that nothing stands between them.
    headers.insert(HeaderName::from_static("soapaction"), HeaderValue::from_static("\"\""));
    headers
}

fn exchange(status: StatusCode, headers: &HeaderMap) -> Exchange {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let date = text(DATE).and_then(|text| DateTime::parse_from_rfc2822(text).ok());
    let seconds = text(RETRY_AFTER).and_then(|text| text.trim().parse().ok());
    Exchange {
        status,
        server_date: date.map(|date| date.with_timezone(&Utc)),
        retry_after: seconds.map(Duration::from_secs),
        charset: text(CONTENT_TYPE).and_then(charset),
    }
}

/// The `charset` parameter of a content type.
fn charset(content_type: &str) -> Option<String> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_charset = name.trim().eq_ignore_ascii_case("charset");
        is_charset.then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Whether the TLS library is at the bottom of an error.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        // What an I/O error wraps is not its source, and the TLS library's is wrapped twice.
        cause = match error.downcast_ref::<io::Error>() {
            Some(wrapper) => wrapper.get_ref().map(|inner| -> &(dyn Error + 'static) { inner }),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_charset() {
        assert_eq!(charset("text/xml; charset=utf-8").as_deref(), Some("utf-8"));
        assert_eq!(charset("text/xml;action=\"x\"; Charset=\"UTF-8\"").as_deref(), Some("UTF-8"));
        assert_eq!(charset("text/xml"), None);
        assert_eq!(charset("text/xml; boundary"), None);
    }

    #[test]
    fn reads_the_headers_that_matter() {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Mon, 04 Mar 2019 19:05:09 GMT"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        let found = exchange(StatusCode::OK, &headers);
        let date = found.server_date.map(crate::lexical::utc_text);
        assert_eq!(date.as_deref(), Some("2019-03-04T19:05:09Z"));
        assert_eq!(found.retry_after, Some(Duration::from_secs(7)));
        headers.insert(DATE, HeaderValue::from_static("yesterday"));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Mon, 04 Mar 2019 19:05:09 GMT"));
        let found = exchange(StatusCode::OK, &headers);
        assert!(found.server_date.is_none() && found.retry_after.is_none());
    }
}
