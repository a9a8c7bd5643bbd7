//! Pairing: a signed-in user makes a code, a device brings it and gets a token of its own, with no more rights than
//! the one who made the code.

use std::net::IpAddr;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::act::Act;
use super::guesses::Wait;
use super::{Accounts, Caller, display_name, fault_of};
use crate::auth::keys;
use crate::domain::account::{AuditEntry, Device, PairingCode};
use crate::domain::ids::{DeviceId, Source, SystemSource, Timestamp};
use crate::domain::policy::Operation;
use crate::domain::principal::Credential;
use crate::error::{Code, Fault};
use crate::store::CommitFault;

/// What a code is written with.
pub const CODE_ALPHABET: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Codes drawn in vain: two that are alike cannot live at once.
const DRAWS: usize = 8;

/// A code as it is shown.
pub struct PairingMade {
    pub code: SecretString,
    pub expires_at: Timestamp,
}

/// A code of `length` characters, each of the 36 as likely as any other: bytes from 252 on are thrown away, because 256
/// is no multiple of 36.
pub fn random_code(length: usize) -> Result<String, Fault> {
    const FAIR: u8 = 252;
    let mut code = String::with_capacity(length);
    while code.len() < length {
        let mut bytes = [0u8; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fault::internal("the system gives no random bytes"))?;
        let fair = bytes.into_iter().filter(|byte| *byte < FAIR).take(length - code.len());
        code.extend(fair.map(|byte| char::from(CODE_ALPHABET[usize::from(byte) % CODE_ALPHABET.len()])));
    }
    Ok(code)
}

fn wait(wait: &Wait) -> Fault {
    let fault = Fault::new(Code::RateLimited, "too many wrong pairing codes: wait a while");
    fault.with_details(json!({ "retryAfter": wait.seconds }))
}

impl Accounts {
    /// A code that pairs one device with the caller, once.
    pub async fn create_pairing_code(&self, caller: &Caller, device_name: &str) -> Result<PairingMade, Fault> {
        let name = display_name("deviceName", device_name)?;
        let act = Act::new(caller, Operation::PairingCreate).with(json!({ "deviceName": name }));
        self.allowed(&act).await?;
        let principal = &caller.principal;
        let whose = (principal.organization.clone(), principal.user.clone());
        self.guesses
            .make(whose, Instant::now())
            .map_err(|waiting| Fault { message: "too many pairing codes: wait a while".into(), ..wait(&waiting) })?;
        self.write_down(&act).await?;
        let now = SystemSource.now();
        let seconds = i64::try_from(self.config.pairing.seconds).unwrap_or(i64::MAX);
        let expires_at = now.plus_millis(seconds.saturating_mul(1000));
        for _ in 0..DRAWS {
            let code = random_code(self.config.pairing.code_length)?;
            let row = PairingCode {
                hash: keys::hash(&code),
                organization: principal.organization.clone(),
                user: principal.user.clone(),
                role: principal.role,
                device_name: name.clone(),
                created_at: now,
                expires_at,
            };
            match self.store.put_pairing_code(row).await {
                Ok(()) => return Ok(PairingMade { code: code.into(), expires_at }),
                Err(CommitFault::Refused(_)) => {}
                Err(fault) => return Err(fault_of(fault)),
            }
        }
        Err(Fault::unavailable("no free pairing code was found"))
    }

    /// Uses a code up and gives the device its token. Unknown, used and expired codes are `not_found` alike.
    ///
    /// Nobody is signed in here. That the user wanted a device is on the record since the code was made; who has come is
    /// known only once the code is used, and is written down in the same transaction.
    pub async fn verify_pairing_code(
        &self,
        code: &str,
        address: IpAddr,
        origin: &str,
        request_id: &str,
    ) -> Result<SecretString, Fault> {
        let live = self.store.live_pairing_codes(SystemSource.now()).await.map_err(fault_of)?;
        let guess = match self.guesses.begin(address, live, Instant::now()) {
            Ok(guess) => guess,
            Err(waiting) => {
                if waiting.spoil {
                    let spoilt = self.store.spoil_pairing_codes().await.map_err(fault_of)?;
                    tracing::warn!(spoilt, "pairing codes are being guessed: all live ones were made void");
                }
                return Err(wait(&waiting));
            }
        };
        let code = code.trim().to_ascii_uppercase();
        let spelled = code.len() == self.config.pairing.code_length && code.bytes().all(|b| CODE_ALPHABET.contains(&b));
        let unknown = || Fault::not_found("pairing code");
        if !spelled {
            return Err(unknown());
        }
        let token = keys::generate("")?;
        let id = DeviceId::mint(&mut SystemSource);
        let hash = keys::hash(token.expose_secret());
        let (origin, request_id) = (origin.to_owned(), request_id.to_owned());
        let record = move |device: &Device| paired(device, &origin, &request_id);
        let used = self.store.use_pairing_code(keys::hash(&code), SystemSource.now(), id, hash, record).await;
        let device = used.map_err(fault_of)?.ok_or_else(unknown)?;
        self.guesses.right(guess, &device.organization);
        Ok(token)
    }
}

fn paired(device: &Device, origin: &str, request_id: &str) -> AuditEntry {
    AuditEntry {
        at: device.created_at,
        organization: Some(device.organization.clone()),
        actor: Some(device.user.clone()),
        credential: Some(Credential::Device { id: device.id.to_string() }),
        action: Operation::PairingVerify.name().into(),
        target: Some(device.id.to_string()),
        details: json!({ "name": device.name, "role": device.role.name() }),
        outcome: None,
        origin: origin.into(),
        request_id: request_id.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_use_the_whole_alphabet_evenly() {
        let mut counts = [0u32; 36];
        for _ in 0..6000 {
            for byte in random_code(6).unwrap().bytes() {
                counts[CODE_ALPHABET.iter().position(|c| *c == byte).unwrap()] += 1;
            }
        }
        // 1000 expected of each; seven standard deviations are 218.
        assert!(counts.iter().all(|count| (780..1220).contains(count)), "{counts:?}");
        assert_eq!(random_code(12).unwrap().len(), 12);
    }

    /// 256 random bits each: by the birthday bound a million of them collide with a chance of 2^40 / 2^257.
    #[test]
    fn case_53_no_two_tickets_are_alike() {
        let mut seen = HashSet::new();
        for _ in 0..100_000 {
            let ticket = keys::generate("").unwrap().expose_secret().to_owned();
            assert_eq!(ticket.len(), 43);
            assert!(seen.insert(ticket));
        }
    }
}
