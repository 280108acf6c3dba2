//! What happened on the way, in plain words for the owner.

use super::{ConnectError, Ending};

/// What the closing page says of a trip that led to nothing.
pub(super) fn ending(error: &ConnectError) -> Ending {
    // Who would come by the same way again need not.
    let is_final = matches!(error, ConnectError::Ended);
    Ending::Failed { code: error.code().to_owned(), sentence: for_owner(error), is_final }
}

/// A sentence for the closing page. What came in the address is in it only where Smartcar's own words must
/// be told, shortened and without control characters; the page escapes it.
fn for_owner(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused { sentence, .. } => sentence.clone(),
        ConnectError::NotConfigured(_) => {
            "Carport is not set up completely yet. Please tell whoever runs it; nothing is wrong with your car.".to_owned()
        }
        ConnectError::Ended => {
            "Smartcar has ended the way by which Carport sent you there. Whoever runs it can take your car over as it is; please tell \
             them. Nothing is wrong with your car, and you need not try again."
                .to_owned()
        }
        ConnectError::Limited { .. } => "Smartcar is asked too often at the moment. Please try again later.".to_owned(),
        ConnectError::Later { .. } | ConnectError::Upstream(_) => "Smartcar did not answer as expected. Please try again in a few minutes.".to_owned(),
        ConnectError::Store => "Carport cannot save anything at the moment. Please try again in a few minutes.".to_owned(),
        ConnectError::Unconfirmed => {
            "Smartcar does not confirm that this account was connected just now. Please start again from your link.".to_owned()
        }
        other => {
            let sentence = other.to_string();
            let mut letters = sentence.chars();
            letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
        }
    }
}

/// Smartcar's errors in Connect (its pages "connect errors").
pub(super) fn refused(error: String, description: Option<&str>, vehicle: Option<&str>) -> ConnectError {
    let car = vehicle.map_or_else(|| "This car".to_owned(), |vehicle| format!("The {}", tame(vehicle)));
    let sentence = match error.as_str() {
        "access_denied" => "You did not give access to your car. Nothing was connected.".to_owned(),
        "vehicle_incompatible" => format!("{car} does not work with Smartcar."),
        "invalid_subscription" => {
            "The car's connected services are not active. Renew the subscription with the manufacturer, then try again."
                .to_owned()
        }
        "no_vehicles" => {
            "There is no car in this account of the manufacturer. Add the car there first, then try again.".to_owned()
        }
        "configuration_error" => {
            "Smartcar says that the application is not set up correctly. Please tell whoever runs Carport.".to_owned()
        }
        "server_error" => "Something went wrong at Smartcar. Please try again in a few minutes.".to_owned(),
        "oem_cancelled_login" => "You left the manufacturer's sign-in. Nothing was connected.".to_owned(),
        // A word that is new to us is shown, not dropped.
        other => match description {
            Some(description) => format!("Smartcar says: {} ({}).", tame(description), tame(other)),
            None => format!("Smartcar says: {}.", tame(other)),
        },
    };
    ConnectError::Refused { code: tame(&error), sentence }
}

/// At most 200 printable characters.
fn tame(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
