"""What each recorded payload must read as; from the index beside them, in canonical terms.

The recorded payloads are not part of this project; where they are, `test_devices` plays them.
Where the index leaves room ("interpretation"), a note says what the mapping decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ARRIVAL = "2026-11-01T12:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A recorded payload, where it came in, and its events: type, time and data."""

    file: str
    device: str
    topic: str = ""
    received_at: str = ARRIVAL
    events: tuple[dict[str, Any], ...] = ()
    ignored: bool = False
    note: str = ""

    def read(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The parts of events that the index speaks of; pieces are numbered as they come."""
        pieces: dict[str, str] = {}
        found = [{"type": each["type"], "time": each["time"], **each["data"]} for each in events]
        for each in found:
            if "instance" in each:
                name = pieces.setdefault(each["instance"], f"piece {len(pieces) + 1}")
                each["instance"] = name
        return found


READINGS: tuple[Reading, ...] = (
    Reading(
        file="arts-poslog/futura-retoure.xml",
        device="arts-poslog",
        topic="pos/x/poslog",
        events=(
            {
                "type": "sale.returned",
                "time": "2024-09-26T15:06:56.741000Z",
                "currency": "EUR",
                "lines": [
                    {
                        "product": "4025929673704",
                        "quantity": "1",
                        "amount": "2.99",
                        "discount": "0.00",
                        "unit": "EA",
                        "unit_price": "2.99",
                    }
                ],
                "total": "2.99",
                "tax": "0.48",
                "tax_included": True,
                "tenders": [{"kind": "cash", "amount": "2.99"}],
                "receipt": "1888",
                "basket": "300-30001-2024-09-26-1888",
                "register": "pos-30001",
                "visitor": {"kind": "loyalty", "value": "T220001293"},
            },
        ),
    ),
    Reading(
        file="arts-poslog/futura-sale-with-customer.xml",
        device="arts-poslog",
        topic="pos/x/poslog",
        events=(
            {
                "type": "sale.completed",
                "time": "2024-07-31T09:46:13.327000Z",
                "basket": "100-10001-2024-07-31-2",
                "register": "pos-10001",
                "visitor": {"kind": "loyalty", "value": "T220001293"},
                "currency": "EUR",
                "lines": [
                    {
                        "product": "8718824914497",
                        "quantity": "1",
                        "amount": "26.99",
                        "discount": "0.00",
                        "unit": "EA",
                        "unit_price": "26.99",
                    }
                ],
                "total": "26.99",
                "tax": "4.31",
                "tax_included": True,
                "tenders": [{"kind": "cash", "amount": "26.99"}],
                "change": "0.00",
                "receipt": "2",
            },
        ),
    ),
    Reading(
        file="arts-poslog/futura-sale-with-tenderchange.xml",
        device="arts-poslog",
        topic="pos/x/poslog",
        events=(
            {
                "type": "sale.completed",
                "time": "2024-07-31T10:21:47.539000Z",
                "basket": "100-10001-2024-07-31-3",
                "register": "pos-10001",
                "currency": "EUR",
                "lines": [
                    {
                        "product": "8718824914435",
                        "quantity": "1",
                        "amount": "26.99",
                        "discount": "0.00",
                        "unit": "EA",
                        "unit_price": "26.99",
                    }
                ],
                "total": "26.99",
                "tax": "4.31",
                "tax_included": True,
                "tenders": [{"kind": "cash", "amount": "27.00"}],
                "change": "0.01",
                "receipt": "3",
            },
        ),
    ),
    Reading(
        file="axis/aoa-crossline-count-1.json",
        device="axis",
        topic="axis/0123456789AB/event/CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1",
    ),
    Reading(
        file="axis/aoa-crossline-count-2.json",
        device="axis",
        topic="axis/0123456789AB/event/CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1",
        note="read alone a baseline; after file 1: +119 cars, no person",
    ),
    Reading(
        file="axis/aoa-occupancy-in-area.json",
        device="axis",
        topic="axis/0123456789AB/event/CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1",
        events=(
            {
                "type": "zone.occupancy",
                "time": "2024-07-18T08:00:00Z",
                "zone": "B8A44F941234/Device1Scenario1",
                "count": 4,
            },
        ),
    ),
    Reading(
        file="disruptive-technologies/object-present-count.json",
        device="disruptive-technologies",
        topic="disruptive/x",
        note="two counts are one passage",
    ),
    Reading(
        file="espresense/device-reading-two-rooms.seq.json",
        device="espresense",
        events=(
            {
                "type": "visitor.detected",
                "time": "2026-11-01T12:00:00Z",
                "visitor": {
                    "kind": "ble",
                    "value": "ibeacon:1d4b2e16-481e-4579-8b35-ffc32e4a1758:100:1",
                },
                "zone": "kitchen",
                "rssi_dbm": -72.35,
                "distance_m": 3.42,
            },
        ),
    ),
    Reading(
        file="espresense/device-reading.json",
        device="espresense",
        topic="espresense/devices/iBeacon:426c7565-4368-6172-6d42-6561636f6e73-3838-4949/office",
        events=(
            {
                "type": "visitor.detected",
                "time": "2026-11-01T12:00:00Z",
                "visitor": {
                    "kind": "ble",
                    "value": "ibeacon:426c7565-4368-6172-6d42-6561636f6e73:3838:4949",
                },
                "zone": "office",
                "rssi_dbm": -81.1,
                "distance_m": 6.58,
            },
        ),
    ),
    Reading(
        file="fi-ekuitti/ereceipt-1.json",
        device="fi-ekuitti",
        topic="ekuitti/receipts",
        events=(
            {
                "type": "sale.completed",
                "time": "2022-05-10T16:25:43.713000Z",
                "basket": "1652278238952",
                "currency": "EUR",
                "lines": [
                    {
                        "product": "5099556020858",
                        "quantity": "1",
                        "amount": "30.80",
                        "discount": "0.00",
                        "unit": "kpl",
                        "unit_price": "30.80",
                        "tax": "3.78",
                    },
                    {
                        "product": "6410405180032",
                        "quantity": "1",
                        "amount": "1.75",
                        "discount": "0.00",
                        "unit": "KPL",
                        "unit_price": "1.75",
                        "tax": "0.21",
                    },
                    {
                        "product": "2300130600001",
                        "quantity": "4.35",
                        "amount": "17.23",
                        "discount": "1.30",
                        "unit": "kg",
                        "unit_price": "4.26",
                        "tax": "2.12",
                    },
                    {
                        "product": "6423800033629",
                        "quantity": "1",
                        "amount": "34.90",
                        "discount": "0.00",
                        "unit": "KPL",
                        "unit_price": "34.90",
                        "tax": "6.75",
                    },
                ],
                "total": "84.68",
                "tax": "12.86",
                "tax_included": True,
                "taxes": [
                    {"rate": 0.14, "tax": "6.11", "amount": "49.78"},
                    {"rate": 0.24, "tax": "6.75", "amount": "34.90"},
                ],
                "discount": "1.30",
                "tenders": [{"kind": "card", "amount": "84.68"}],
                "receipt": "1652278238952",
            },
        ),
    ),
    Reading(
        file="frigate/events-update.json",
        device="frigate",
        topic="frigate/events",
        events=(
            {
                "type": "zone.entered",
                "time": "2020-12-04T23:19:22.082975Z",
                "visitor": {"kind": "track", "value": "1607123955.475377-mxklsc"},
                "zone": "yard",
            },
        ),
        note="every entry is told, re-entries too: the visitor stays one and the same",
    ),
    Reading(
        file="frigate/reviews-update.json",
        device="frigate",
        topic="frigate/reviews",
        ignored=True,
    ),
    Reading(
        file="frigate/zone-count.seq.json",
        device="frigate",
        events=(
            {
                "type": "zone.occupancy",
                "time": "2026-11-01T12:00:00Z",
                "zone": "front_yard",
                "count": 1,
            },
            {
                "type": "zone.occupancy",
                "time": "2026-11-01T12:00:00Z",
                "zone": "front_property",
                "count": 1,
            },
        ),
    ),
    Reading(
        file="gs1-digital-link/uris.json",
        device="gs1-digital-link",
        topic="scanner/door/code",
        events=(
            {
                "type": "item.scanned",
                "time": "2026-11-01T12:00:00Z",
                "product": "0860080001300",
                "instance": "piece 1",
                "lot": "12345",
                "quantity": "1",
            },
            {
                "type": "item.scanned",
                "time": "2026-11-01T12:00:00Z",
                "product": "0860080001300",
                "instance": "piece 1",
                "quantity": "1",
            },
        ),
    ),
    Reading(
        file="gs1-epcis/object-event-10-epcs.json",
        device="gs1-epcis",
        topic="epcis/capture",
        events=tuple(
            {
                "type": "item.scanned",
                "time": time,
                "product": "9520001123467",
                "instance": f"piece {number}",
                "quantity": "1",
                "business_step": step,
                "disposition": "in_progress",
                "read_point": "urn:epc:id:sgln:9529999.99999.0",
                "business_location": "urn:epc:id:sgln:9529999.99999.0",
            }
            for time, step in (
                ("2020-06-07T17:10:16Z", "receiving"),
                ("2020-06-08T18:11:16Z", "inspecting"),
            )
            for number in range(1, 11)
        ),
    ),
    Reading(
        file="gs1-epcis/object-events.json",
        device="gs1-epcis",
        topic="epcis/capture",
        events=(
            {
                "type": "item.scanned",
                "time": "2005-04-04T02:33:31.116000Z",
                "product": "10614141073464",
                "instance": "piece 1",
                "quantity": "1",
                "business_step": "shipping",
                "disposition": "in_transit",
                "read_point": "urn:epc:id:sgln:0614141.07346.1234",
            },
            {
                "type": "item.scanned",
                "time": "2005-04-04T02:33:31.116000Z",
                "product": "10614141073464",
                "instance": "piece 2",
                "quantity": "1",
                "business_step": "shipping",
                "disposition": "in_transit",
                "read_point": "urn:epc:id:sgln:0614141.07346.1234",
            },
            {
                "type": "item.scanned",
                "time": "2005-04-05T02:33:31.116000Z",
                "product": "10614141073464",
                "instance": "piece 2",
                "quantity": "1",
                "business_step": "receiving",
                "disposition": "in_progress",
                "read_point": "urn:epc:id:sgln:0012345.11111.400",
                "business_location": "urn:epc:id:sgln:0012345.11111.0",
            },
        ),
        note="locations without a zone in the store have none; serial numbers are told as pieces",
    ),
    Reading(
        file="haltian/thingsee-presence.json",
        device="haltian",
        topic="haltian/x",
        events=(
            {
                "type": "zone.occupancy",
                "time": "2022-07-07T11:58:38Z",
                "zone": "TSPR04EZU20400472",
                "count": 0,
            },
        ),
    ),
    Reading(
        file="hikvision/peoplecounting-realtime.xml",
        device="hikvision",
        topic="hikvision/cam1",
    ),
    Reading(
        file="hikvision/peoplecounting-timerange.xml",
        device="hikvision",
        topic="hikvision/cam1",
        events=(
            {
                "type": "people.counted",
                "time": "2020-04-19T17:35:00Z",
                "zone": "44:47:CC:50:00:C1/1",
                "entries": 0,
                "exits": 0,
                "passers_by": 0,
                "interval_s": 120.0,
            },
        ),
    ),
    Reading(
        file="impinj/r700-tag-inventory.json",
        device="impinj",
        topic="impinj/events",
        events=(
            {
                "type": "item.scanned",
                "time": "2024-07-18T08:00:00Z",
                "product": "7EDA9038051002710002C0AE",
                "instance": "piece 1",
                "zone": "impinj-01-23-45/1",
                "quantity": "1",
                "rssi_dbm": -70.0,
            },
        ),
    ),
    Reading(
        file="lightspeed-x/sale-update.json",
        device="lightspeed-x",
        topic="lightspeed/sale.update",
        events=(
            {
                "type": "sale.completed",
                "time": "2017-12-06T04:30:36Z",
                "basket": "edf73c5e-a3e1-bfe7-11e7-da38dadd8a59",
                "currency": "EUR",
                "lines": [
                    {
                        "product": "0624dbcd-ef13-11e6-e986-ee7c6d0f6301",
                        "quantity": "1",
                        "amount": "65.00",
                        "discount": "0.00",
                        "unit_price": "65.00",
                        "tax": "8.4783",
                    },
                    {
                        "product": "0624dbcd-ef13-11e6-e986-fcc1c366e772",
                        "quantity": "1",
                        "amount": "8.00",
                        "discount": "0.00",
                        "unit_price": "8.00",
                        "tax": "1.0435",
                    },
                ],
                "total": "73.00",
                "tax": "9.5217",
                "tax_included": True,
                "taxes": [{"rate": 0.15, "tax": "9.5217"}],
                "discount": "0.00",
                "tenders": [
                    {"kind": "cash", "amount": "50.00"},
                    {"kind": "card", "amount": "23.00"},
                ],
                "receipt": "402",
                "revision": 5307658013,
            },
        ),
        note="the currency is the store's: EUR here",
    ),
    Reading(
        file="meraki-mv/zone-counts.json",
        device="meraki-mv",
        topic="/merakimv/Q2GV-xxxx-xxxx/0",
        events=(
            {
                "type": "zone.occupancy",
                "time": "2019-11-01T00:23:55.359000Z",
                "zone": "Q2GV-xxxx-xxxx/0",
                "count": 0,
            },
        ),
    ),
    Reading(
        file="milesight/vs133-chirpstack-envelope.json",
        device="milesight",
        topic="application/1/device/24e124767f020849/event/up",
        note="totals are taken, the period in the same message is not",
    ),
    Reading(
        file="milesight/vs133-periods.json",
        device="milesight",
        topic="milesight/counter-1",
        events=(
            {
                "type": "people.counted",
                "time": "2026-11-01T12:00:00Z",
                "zone": "COUNTER-1/1",
                "entries": 0,
                "exits": 0,
            },
            {
                "type": "people.counted",
                "time": "2026-11-01T12:00:00Z",
                "zone": "COUNTER-1/2",
                "entries": 0,
                "exits": 0,
            },
            {
                "type": "people.counted",
                "time": "2026-11-01T12:00:00Z",
                "zone": "COUNTER-1/3",
                "entries": 0,
                "exits": 0,
            },
            {
                "type": "people.counted",
                "time": "2026-11-01T12:00:00Z",
                "zone": "COUNTER-1/4",
                "entries": 5,
                "exits": 7,
            },
        ),
    ),
    Reading(
        file="milesight/vs133-region-dwell.json",
        device="milesight",
        topic="milesight/counter-1",
        ignored=True,
        note="without a unit in the store's settings no duration comes out",
    ),
    Reading(
        file="milesight/vs133-totals.json",
        device="milesight",
        topic="milesight/counter-1",
    ),
    Reading(
        file="minew/g1-json-ibeacon.json",
        device="minew",
        topic="/gw/ac233fc0bc43/status",
        ignored=True,
        events=(
            {
                "type": "visitor.detected",
                "time": "2022-01-20T13:22:49.519000Z",
                "visitor": {"kind": "ble", "value": "AC:23:3F:8C:7C:EE"},
                "zone": "AC:23:3F:C0:BC:43",
                "rssi_dbm": -38.0,
            },
            {
                "type": "visitor.detected",
                "time": "2022-01-20T13:22:49.431000Z",
                "visitor": {"kind": "ble", "value": "AC:23:3F:AA:1A:F3"},
                "zone": "AC:23:3F:C0:BC:43",
                "rssi_dbm": -34.0,
            },
        ),
    ),
    Reading(
        file="nexo-terminal/loyalty-award-request.json",
        device="nexo-terminal",
        topic="nexo/lane3",
        events=(
            {
                "type": "loyalty.scanned",
                "time": "2026-04-30T14:45:00Z",
                "visitor": {"kind": "loyalty", "value": "98234"},
                "basket": "TXN-20260430-00847",
                "register": "BiltPOS-Lane3",
                "terminal": "VictaLane-275839164",
            },
            {
                "type": "sale.completed",
                "time": "2026-04-30T14:45:00Z",
                "basket": "TXN-20260430-00847",
                "register": "BiltPOS-Lane3",
                "visitor": {"kind": "loyalty", "value": "98234"},
                "currency": "USD",
                "lines": [
                    {
                        "product": "KRK-CNDL-LRG-VAN",
                        "quantity": "2",
                        "amount": "49.98",
                        "discount": "0.00",
                        "unit_price": "24.99",
                    },
                    {
                        "product": "KRK-FRAME-5X7-BLK",
                        "quantity": "1",
                        "amount": "14.99",
                        "discount": "0.00",
                        "unit_price": "14.99",
                    },
                ],
                "total": "64.97",
                "terminal": "VictaLane-275839164",
            },
        ),
        note="tells_sales decides whether the basket counts here",
    ),
    Reading(
        file="nexo-terminal/loyalty-award-response.json",
        device="nexo-terminal",
        topic="nexo/lane3",
        events=(
            {
                "type": "loyalty.scanned",
                "time": "2026-04-30T14:45:02Z",
                "visitor": {"kind": "loyalty", "value": "98234"},
                "basket": "TXN-20260430-00847",
                "register": "BiltPOS-Lane3",
                "points": 65,
                "balance": 1240,
                "programme": "K-Club",
                "terminal": "VictaLane-275839164",
            },
        ),
    ),
    Reading(
        file="ruuvi/gateway-mqtt-timestamped.json",
        device="ruuvi",
        topic="ruuvi/C8:25:2D:8E:9C:2C/F4:1F:0C:28:CB:D6",
        events=(
            {
                "type": "visitor.detected",
                "time": "2022-05-27T16:13:47Z",
                "visitor": {"kind": "ble", "value": "F4:1F:0C:28:CB:D6"},
                "zone": "C8:25:2D:8E:9C:2C",
                "rssi_dbm": -26.0,
            },
        ),
    ),
    Reading(
        file="shopify/orders-paid.json",
        device="shopify",
        topic="shopify/orders-paid",
        ignored=True,
        note="test, voided and cancelled: no sale",
    ),
    Reading(
        file="square/order-completed.json",
        device="square",
        topic="square/webhook",
        events=(
            {
                "type": "sale.completed",
                "time": "2019-08-06T02:47:37.140000Z",
                "basket": "lgwOlEityYPJtcuvKTVKT1pA986YY",
                "currency": "USD",
                "lines": [
                    {
                        "product": "Item 1",
                        "quantity": "1",
                        "amount": "5.00",
                        "discount": "0.00",
                        "unit_price": "5.00",
                        "tax": "0.00",
                    },
                    {
                        "product": "Item 2",
                        "quantity": "2",
                        "amount": "15.00",
                        "discount": "0.00",
                        "unit_price": "7.50",
                        "tax": "0.00",
                    },
                ],
                "total": "20.00",
                "tax": "0.00",
                "tax_included": True,
                "discount": "0.00",
                "charges": "0.00",
                "tip": "0.00",
                "tenders": [
                    {"kind": "card", "amount": "10.00"},
                    {"kind": "card", "amount": "10.00"},
                ],
                "revision": 4,
            },
        ),
        note="no product id in the body: the item name",
    ),
    Reading(
        file="square/webhook-order-updated.json",
        device="square",
        topic="square/webhook",
        ignored=True,
    ),
    Reading(
        file="square/webhook-payment-updated.json",
        device="square",
        topic="square/webhook",
        ignored=True,
    ),
    Reading(
        file="theengs-omg/apple-device-tracker.json",
        device="theengs-omg",
        topic="home/TheengsGateway/BTtoMQTT/112233445566",
        events=(
            {
                "type": "visitor.detected",
                "time": "2026-11-01T12:00:00Z",
                "visitor": {"kind": "ble", "value": "11:22:33:44:55:66"},
                "zone": "TheengsGateway",
                "rssi_dbm": -42.0,
                "distance_m": 0.03341741003670675,
            },
        ),
    ),
    Reading(
        file="theengs-omg/ibeacon-decoded.json",
        device="theengs-omg",
        topic="home/TheengsGateway/BTtoMQTT/112233445566",
        ignored=True,
    ),
    Reading(
        file="theengs-omg/presence-topic.json",
        device="theengs-omg",
        topic="home/home_presence/OpenMQTTGateway_ESP32_BLE_House",
        events=(
            {
                "type": "visitor.detected",
                "time": "2026-11-01T12:00:00Z",
                "visitor": {"kind": "track", "value": "45:F6:8A:76:86:C5"},
                "zone": "OpenMQTTGateway_ESP32_BLE_House",
                "rssi_dbm": -55.0,
                "distance_m": 0.495572,
            },
        ),
        note="a rotating address is a track, never a returning visitor",
    ),
    Reading(
        file="xovis/v5-count-increment.json",
        device="xovis",
        topic="xovis/s1",
        events=(
            {
                "type": "people.counted",
                "time": "2023-01-16T13:27:02.987000Z",
                "zone": "Line-based logic 2",
                "entries": 1,
                "exits": 0,
            },
        ),
    ),
    Reading(
        file="xovis/v5-live-line-cross.json",
        device="xovis",
        topic="xovis/s1",
        events=(
            {
                "type": "people.counted",
                "time": "2022-02-25T09:17:45.470000Z",
                "zone": "Line 0",
                "entries": 0,
                "exits": 1,
            },
        ),
    ),
    Reading(
        file="xovis/v5-logics-1min.json",
        device="xovis",
        topic="xovis/s1",
        events=(
            {
                "type": "people.counted",
                "time": "2022-02-25T12:42:00Z",
                "zone": "Line 0",
                "entries": 1,
                "exits": 0,
                "interval_s": 60.0,
            },
            {
                "type": "people.counted",
                "time": "2022-02-25T12:43:00Z",
                "zone": "Line 0",
                "entries": 0,
                "exits": 0,
                "interval_s": 60.0,
            },
            {
                "type": "people.counted",
                "time": "2022-02-25T12:44:00Z",
                "zone": "Line 0",
                "entries": 0,
                "exits": 0,
                "interval_s": 60.0,
            },
            {
                "type": "people.counted",
                "time": "2022-02-25T12:45:00Z",
                "zone": "Line 0",
                "entries": 0,
                "exits": 0,
                "interval_s": 60.0,
            },
            {
                "type": "zone.occupancy",
                "time": "2022-02-25T12:42:00Z",
                "zone": "Zone 0",
                "count": 0,
            },
            {
                "type": "zone.occupancy",
                "time": "2022-02-25T12:43:00Z",
                "zone": "Zone 0",
                "count": 0,
            },
            {
                "type": "zone.occupancy",
                "time": "2022-02-25T12:44:00Z",
                "zone": "Zone 0",
                "count": 0,
            },
            {
                "type": "zone.occupancy",
                "time": "2022-02-25T12:45:00Z",
                "zone": "Zone 0",
                "count": 0,
            },
        ),
    ),
    Reading(
        file="zebra/iotc-simple-tag.json",
        device="zebra",
        topic="zebra/r1/data",
        events=(
            {
                "type": "item.scanned",
                "time": "2024-07-18T08:00:00Z",
                "product": "7EDA9038051002710002C0AE",
                "instance": "piece 1",
                "zone": "C4:7D:CC:FF:FF:FF/1",
                "quantity": "1",
                "rssi_dbm": -40.0,
            },
        ),
    ),
    Reading(
        file="zigbee2mqtt/bridge-state.seq.json",
        device="zigbee2mqtt",
        ignored=True,
    ),
    Reading(
        file="zigbee2mqtt/docs-examples.seq.json",
        device="zigbee2mqtt",
        events=(
            {
                "type": "help.requested",
                "time": "2026-11-01T12:00:00Z",
                "zone": "<button>",
            },
            {
                "type": "zone.occupancy",
                "time": "2026-11-01T12:00:00Z",
                "zone": "<motion sensor>",
                "count": 1,
            },
        ),
        ignored=True,
        note="a press calls staff, where the store gave the button a zone",
    ),
    Reading(
        file="zigbee2mqtt/rtcgq11lm-occupancy.seq.json",
        device="zigbee2mqtt",
        events=(
            {
                "type": "zone.occupancy",
                "time": "2026-11-01T12:00:00Z",
                "zone": "0x00158d0002006aa6",
                "count": 1,
            },
        ),
    ),
)
