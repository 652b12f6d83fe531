#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Writes the corpora of fuzz_natpmp and fuzz_pcp next to this script.

The packets stand here in hex, where a change can be read; the files are what a
fuzzing engine wants. Files of other names (found by fuzzing, say) are left alone.
With --check nothing is written: ends with 1 if a file is missing or different.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent

ZERO12 = "00" * 12
NONCE = "6ca2949124693c96afc2dfd7"
MAPPED = "00" * 10 + "ffff"
WAN = MAPPED + "08080404"
NO_WAN = MAPPED + "00000000"

# F-nn: sent by real gateways (octets that were not recorded are filled in).
NATPMP = {
    "f01-address": "0080 0000 00000681 08080404",
    "f02-no-wan": "0080 0003 00000003 00000000",
    "f03-map": "0081 0000 00000681 1388 1388 00000e10",
    "f04-next-port": "0081 0000 000006bf 14b4 14b5 00000e10",
    "f05-endless": "0081 0000 000006b9 13ec 13ec ffffffff",
    "f06-refused": "0081 0002 00000682 0000 0001 0000003c",
    "f07-deleted": "0081 0000 00000685 176f 0000 00000000",
    "f08-unknown-opcode": "0085 0005 00000684",
    "f09-version": "0081 0001 00000681",
    "f10-pcp-2-octets": "0280",
    "f11-pcp-12-octets": "0281 0002 a2a90000 004f8fd2",
    "f19-answer-to-pcp": "00800003 00000000 0000068b" + ZERO12 + NONCE
    + "11000000 1b58 1b58" + WAN + "00000000",
    "f23-announcement": "0080 0000 000006ed 08080404",
    "tcp-map": "0082 0000 00000681 1388 1389 00000e10",
    "short-error": "0082 0002 00000684",
    "echoed-request": "0082 0005 1388 1389 00000e10",
    "echoed-long": "0082 0005 00000684 1388 1389 00000e10",
    "echoed-short": "0080 0005",
    "version-op-0": "0000 0001 00000681",
    "version-4-octets": "0080 0001",
    "undefined-result": "0081 1092 00000682 1388 1389 0000270f",
    "garbled-ports": "0081 0000 00000681 00f2 000e 00000e10",
    "longer": "0080 0000 00000681 08080404 ffffffffff",
    "cut-address": "0080 0000 00000681 080804",
    "cut-map": "0081 0000 00000681 1388 1388 00000e",
    "request-address": "0000",
    "request-map": "0001 0000 1388 1388 00000e10",
    "all-ones": "ff" * 16,
    "all-zero": "00" * 16,
    "empty": "",
    "one-octet": "00",
}


def pcp_map(result, lifetime, epoch, internal, external, address=WAN, tail="", head="0281"):
    return (f"{head} 00{result:02x} {lifetime:08x} {epoch:08x}" + ZERO12 + NONCE
            + f"11000000 {internal:04x} {external:04x}" + address + tail)


THIRD_PARTY = "01000010" + MAPPED + "c0a84d21"

PCP = {
    "f09-natpmp-version": "0081 0001 00000681",
    "f10-2-octets": "0280",
    "f11-12-octets": "0281 0002 a2a90000 004f8fd2",
    "f12-map": pcp_map(0, 7200, 0x686, 7000, 7000),
    "f13-no-resources": pcp_map(8, 30, 3, 5001, 5001, MAPPED + "0a090807"),
    "f14-network-failure": pcp_map(7, 30, 3, 5001, 5001, NO_WAN),
    "f15-delete-of-nothing": pcp_map(8, 30, 0x687, 7000, 0, NO_WAN),
    "f16-wrong-nonce": pcp_map(2, 0, 0x688, 7000, 0, NO_WAN),
    "f17-wrong-client": pcp_map(12, 0, 0x689, 7000, 7000, NO_WAN),
    "f18-short-error": "02810003 00000000 0000068a" + ZERO12,
    "f19-version-0": pcp_map(3, 0, 0x68b, 7000, 7000, tail="00000000", head="0080"),
    "f20-version-3-asked": pcp_map(1, 0, 0x68c, 7000, 7000),
    "f21-version-1": pcp_map(6, 0, 0x68d, 7000, 7000, head="0181"),
    "f22-ipv6": "02810000 00001c20 0000068e" + ZERO12 + NONCE
    + "06000000 1770 0000 20010db8000000000000000000000010",
    "f23-announce": "0280 0000 00000000 000006ed" + ZERO12,
    "f24-announce": "0280 0000 00000000 000006ff" + ZERO12,
    "f25-map": "0281000000000960000447080000000000000000000000006ca2949124693c96afc2dfd7"
    "0600000025b625b600000000000000000000ffffd99bba35",
    "third-party": pcp_map(0, 7200, 0x686, 7000, 7000, tail=THIRD_PARTY),
    "third-party-twice": pcp_map(0, 7200, 0x686, 7000, 7000, tail=THIRD_PARTY * 2),
    "third-party-short": pcp_map(0, 7200, 0x686, 7000, 7000, tail="01000004 c0a84d21"),
    "unknown-options": pcp_map(0, 7200, 0x686, 7000, 7000,
                               tail="63000001 01000000 c8000005 0102030405000000" + THIRD_PARTY),
    "all-our-options": pcp_map(0, 7200, 0x686, 7000, 443,
                               tail=THIRD_PARTY + "02000000 03000014 00000000" + "00" * 16
                               + "03000014 00780000" + MAPPED + "c0000200 80000004 77656220"),
    "description-without-nul": pcp_map(0, 7200, 0x686, 7000, 7000, tail="80000003 61626378"),
    "option-too-long": pcp_map(0, 7200, 0x686, 7000, 7000, tail="6300ffff 01020304"),
    "option-wraps": pcp_map(0, 7200, 0x686, 7000, 7000, tail="c800fffd 01020304"),
    "option-cut": pcp_map(0, 7200, 0x686, 7000, 7000, tail="63000004"),
    "error-half-a-map": "02810003 00000000 0000068a" + ZERO12 + NONCE,
    "success-without-map": "02810000 00001c20 0000068a" + ZERO12,
    "not-times-4": pcp_map(0, 7200, 0x686, 7000, 7000, tail="0000"),
    "longest": pcp_map(0, 7200, 0x686, 7000, 7000, tail="c800040c" + "5a" * 1036),
    "too-long": pcp_map(0, 7200, 0x686, 7000, 7000, tail="c8000410" + "5a" * 1040),
    "reserved-set": "0281ff00 00001c20 00000686" + "ff" * 12 + NONCE
    + "11ffffff 1b58 1b58" + WAN + "01ff0010" + MAPPED + "c0a84d21",
    "announce-with-prefix64": "0280 0000 00000000 000006ff" + ZERO12
    + "81000008 000c0000 00000000",
    "announce-refused": "0280 0002 00000708 000006ff" + ZERO12,
    "version-4-octets": "02810001",
    "version-5": "05810001 00000258 00000687" + ZERO12,
    "peer": pcp_map(0, 7200, 0x686, 7000, 7000, head="0282"),
    "request-map": pcp_map(0, 7200, 0, 7000, 0, NO_WAN, head="0201"),
    "request-announce": "02000000 00000000" + MAPPED + "c0a84d0a",
    # for the encoder, which takes its request from the input
    "encode-everything": "1f 11 50 51" + WAN + MAPPED + "c0a84d21 7850 0000 00000000"
    + "c3bc" * 20,
    "encode-delete": "1e 06 50 51" + WAN + MAPPED + "c0a84d21 7850 0000 00000000" + "7765",
    "encode-little-room": "0f 11 50 51" + WAN + MAPPED + "c0a84d21 7800 0090 00000000"
    + "e282ac" * 20,
    "all-ones": "ff" * 60,
    "all-zero": "00" * 60,
    "empty": "",
    "one-octet": "02",
}


def main():
    check = sys.argv[1:] == ["--check"]
    wrong = 0
    for folder, packets in (("natpmp", NATPMP), ("pcp", PCP)):
        for name, text in packets.items():
            path = HERE / "corpus" / folder / name
            data = bytes.fromhex(text)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            elif not path.is_file() or path.read_bytes() != data:
                print(f"{path}: missing or not what make-corpus.py has", file=sys.stderr)
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
