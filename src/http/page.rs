//! The page at `/`: plain files that are part of the program.

use std::sync::LazyLock;

use actix_web::http::Method;
use actix_web::http::header::{self, ETag, EntityTag, Header, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, web};

use super::Refusal;
use super::endpoint::{Endpoint, row};
use crate::domain::policy::Operation;
use crate::error::Fault;

/// Nothing from elsewhere, nothing inline. `'self'` covers the page's own WebSocket.
const POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self'; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

struct File {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
    /// Of the content: what a browser keeps is asked about and not sent twice.
    tag: EntityTag,
}

macro_rules! files {
    ($($path:literal: $content_type:ident $file:literal;)*) => {
        static FILES: LazyLock<Vec<File>> = LazyLock::new(|| vec![$(
            file($path, $content_type, include_bytes!(concat!("../../web/page/", $file))),
        )*]);

        /// `/` and `/page/*`. Needs no sign-in: the page holds nothing but itself.
        pub(super) const ENDPOINTS: &[Endpoint] = &[$(
            row(Method::GET, $path, Operation::Page, || web::to(page)),
            row(Method::HEAD, $path, Operation::Page, || web::to(page)),
        )*];
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

files! {
    "/": HTML "index.html";
    "/page/style.css": CSS "style.css";
    "/page/icon.svg": SVG "icon.svg";
    "/page/app.js": SCRIPT "app.js";
    "/page/badge.js": SCRIPT "badge.js";
    "/page/composer.js": SCRIPT "composer.js";
    "/page/conversation.js": SCRIPT "conversation.js";
    "/page/dom.js": SCRIPT "dom.js";
    "/page/growing.js": SCRIPT "growing.js";
    "/page/link.js": SCRIPT "link.js";
    "/page/sidebar.js": SCRIPT "sidebar.js";
    "/page/thread.js": SCRIPT "thread.js";
    "/page/tool.js": SCRIPT "tool.js";
}

fn file(path: &'static str, content_type: &'static str, body: &'static [u8]) -> File {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    let tag = digest.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    File { path, content_type, body, tag: EntityTag::new_strong(tag) }
}

async fn page(request: HttpRequest) -> Result<HttpResponse, Refusal> {
    let file = FILES.iter().find(|file| file.path == request.path());
    Ok(serve(&request, file.ok_or_else(|| Fault::not_found("address"))?))
}

fn serve(request: &HttpRequest, file: &'static File) -> HttpResponse {
    let known = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&file.tag)),
        Err(_) => false,
    };
    let mut answer = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer
        .insert_header(ETag(file.tag.clone()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "same-origin"));
    if known {
        return answer.finish();
    }
    answer.content_type(file.content_type).body(file.body)
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, body::MessageBody};

    use super::*;

    #[actix_web::test]
    async fn the_page_is_served_once_and_then_only_confirmed() {
        let app = init_service(App::new().configure(crate::http::endpoint::mount)).await;
        let answer = call_service(&app, TestRequest::get().uri("/").to_request()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers().get(header::CONTENT_TYPE).unwrap(), HTML);
        let policy = answer.headers().get(header::CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        let tag = answer.headers().get(header::ETAG).unwrap().clone();
        assert!(read_body(answer).await.starts_with(b"<!doctype html>"));

        let again = TestRequest::get().uri("/").insert_header((header::IF_NONE_MATCH, tag)).to_request();
        let answer = call_service(&app, again).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert!(read_body(answer).await.is_empty());

        let changed = TestRequest::get().uri("/").insert_header((header::IF_NONE_MATCH, "\"0\"")).to_request();
        assert_eq!(call_service(&app, changed).await.status(), StatusCode::OK);
    }

    #[actix_web::test]
    async fn every_file_that_the_page_asks_for_is_there() {
        let app = init_service(App::new().configure(crate::http::endpoint::mount)).await;
        let (mut asked, mut seen) = (vec!["/".to_owned()], Vec::new());
        while let Some(path) = asked.pop() {
            if seen.contains(&path) {
                continue;
            }
            let answer = call_service(&app, TestRequest::get().uri(&path).to_request()).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            let body = read_body(answer).await.try_into_bytes().unwrap();
            let text = std::str::from_utf8(&body).unwrap();
            assert!(!text.contains("innerHTML") && !text.contains("style=\""), "{path}");
            for quoted in text.split('"') {
                if quoted.starts_with("/page/") {
                    asked.push(quoted.to_owned());
                } else if let Some(module) = quoted.strip_prefix("./") {
                    asked.push(format!("/page/{module}"));
                }
            }
            seen.push(path);
        }
        assert_eq!(seen.len(), FILES.len(), "a file that nobody asks for, or one asked for that is not there");
    }
}
