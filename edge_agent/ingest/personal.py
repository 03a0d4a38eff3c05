"""What must never pass a mapping: fields of persons, and values that look personal."""

from __future__ import annotations

import re
from typing import Final

# Field names that only ever hold something personal: no mapping may read them.
PERSONAL: Final = frozenset(
    {
        "firstname", "lastname", "fullname", "givenname", "familyname", "surname", "middlename",
        "officialname", "contactname", "customername", "operatorname", "staffname", "displayname",
        "cashiername", "email", "emailaddress", "contactemail", "phone", "phonenumber", "mobile",
        "telephone", "fax", "address1", "address2", "addressline", "streetaddress", "street",
        "billingaddress", "shippingaddress", "postalcode", "zipcode", "dateofbirth", "birthdate",
        "birthyear", "birthdaymonth", "birthday", "gender", "sex", "personheight", "maskedpan",
        "cardnumber", "cardholder", "cardholdername", "last4", "cvv", "expmonth", "expyear",
        "authorizationcode", "licenseplate", "recognizedlicenseplate", "platenumber",
        "facename", "faceid", "faceimage", "sublabel", "sublabels", "socialsecuritynumber", "ssn",
        "blename", "devicename", "thumbnail", "snapshotimage",
    }
)  # fmt: skip
_PLAIN: Final = re.compile(r"[^a-z0-9]")
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")


class Personal(Exception):
    """A value that must not pass."""


def plain(name: str) -> str:
    """Returns a field's name as it is compared: lower case, letters and digits alone."""
    return _PLAIN.sub("", name.lower())


def assert_impersonal(text: str) -> None:
    """Ensures that a text is no e-mail address.

    Raises:
        Personal: It looks like one.
    """
    if "@" in text and _EMAIL.search(text):
        raise Personal
