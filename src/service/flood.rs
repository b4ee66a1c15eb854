//! A client that uses up its share of the proofs that are remembered.

use std::time::Duration;

use super::fixture::{Service, at};
use super::{Carried, Decision, Denied, ProofField, Target, Unproven};
use crate::clients::{Entry, Unentered};
use crate::foreign::Rejected;
use crate::token::{ClientId, Session, Thumbprint};

/// Requests a token of `client` at `second` with the proof `proof`.
fn ask(service: &Service, client: &str, second: i64, proof: &str) -> Result<(), Denied> {
    let asked = service.cost(second, |call| {
        let carried = Carried { proof: ProofField::One(proof), certificate: None };
        let call = super::Call { carried, ..call };
        let url = call.snapshot.urls.token_endpoint.as_ref();
        call.prove(Target { method: "POST", url }, None)?;
        let client = call.snapshot.registry.named(client).unwrap();
        let session = Session { client: client.id.clone(), ..service.session() };
        let issued = call.issue(Decision::Begin(client, session, false)).map(drop);
        assert!(call.notes.next_nonce().is_some());
        issued
    });
    asked.0
}

/// Enters proofs of `client` until there is no room. How many that were.
fn fill(service: &Service, client: &str) -> usize {
    let (client, key) = (ClientId::parse(client).unwrap(), Thumbprint::new([7; 32]));
    // And the anonymous one.
    let clients = service.state.snapshot().registry.len() + 1;
    for number in 0.. {
        let entry = Entry { thumbprint: &key, id: &number.to_string(), ends: at(61) };
        match service.state.proofs.enter(&client, clients, entry, || at(0)) {
            Ok(()) => {}
            Err(Unentered::Full(_)) => return number,
            Err(why) => panic!("{number} is new: {why:?}"),
        }
    }
    unreachable!()
}

/// It was good when it was verified, and others' proofs of its second may be forgotten now.
#[test]
fn a_proof_that_expires_meanwhile_is_refused() {
    let service = Service::new();
    let proof = service.proof("late", 0);
    let ((), _) = service.cost(60, |call| {
        let call = super::Call { carried: Carried { proof: ProofField::One(&proof), certificate: None }, ..call };
        call.prove(Target { method: "POST", url: call.snapshot.urls.token_endpoint.as_ref() }, None).unwrap();
        service.clock.set(at(61));
        let expired = Denied::Unproven(Unproven::Rejected(Rejected::Expired));
        assert_eq!(call.enter_proof(&service.session().client), Err(expired));
    });
}

/// With five clients, each has a tenth of the table for itself.
#[test]
fn who_has_used_its_own_part_waits_while_others_flood() {
    let service = Service::new();
    let entered = ["orders", "signer", "gate"].map(|client| fill(&service, client));
    assert_eq!(entered, [100_000, 100_000, (7 << 16) / 10]);
    let limited = Err(Denied::Limited(Duration::from_secs(61)));
    assert_eq!(ask(&service, "gate", 0, &service.proof("more", 0)), limited);
}

/// "an unexpired entry is never dropped; a client that fills its share (100,000) gets 429, others notice nothing"
#[test]
fn a_client_that_fills_its_share_waits() {
    let service = Service::new();
    let once = service.proof("once", 0);
    assert_eq!(ask(&service, "orders", 0, &once), Ok(()));
    assert_eq!(ask(&service, "gate", 0, &service.proof("gate", 0)), Ok(()));
    assert_eq!(fill(&service, "orders"), 99_999, "one has come already");

    let limited = Err(Denied::Limited(Duration::from_secs(61)));
    assert_eq!(ask(&service, "orders", 0, &service.proof("more", 0)), limited);
    // What it has sent is still known.
    assert_eq!(ask(&service, "orders", 0, &once), Err(Denied::Unproven(Unproven::Replayed)));
    // Another client has room for all of its own requests.
    for number in 0..20 {
        assert_eq!(ask(&service, "gate", 0, &service.proof(&number.to_string(), 0)), Ok(()));
    }
    assert_eq!(ask(&service, "orders", 61, &service.proof("later", 61)), Ok(()));
}
