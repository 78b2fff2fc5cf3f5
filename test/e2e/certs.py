# SPDX-License-Identifier: BSD-3-Clause
"""Throwaway certificates, made by openssl(1)."""

import hashlib
import os
import ssl
import subprocess

EC = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def openssl(*args):
    subprocess.run(("openssl",) + args, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def names_extension(names):
    kinds = ["IP:" + n if n.replace(".", "").isdigit() or ":" in n
             else ("email:" if "@" in n else "DNS:") + n for n in names]
    return "subjectAltName=" + ",".join(kinds)


class Authority:
    """A CA of our own; its leaves are files of key and chain."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(directory, exist_ok=True)
        self.key = os.path.join(directory, "ca.key")
        self.cert = os.path.join(directory, "ca.pem")
        openssl("req", "-x509", "-newkey", *EC, "-nodes", "-days", "2",
                "-subj", "/CN=dma test CA", "-keyout", self.key,
                "-out", self.cert)

    def leaf(self, *names, days="2", rsa=False):
        base = os.path.join(self.directory, names[0].replace(":", "_"))
        if days != "2":
            base += ".expired"
        pem = base + ".pem"
        if os.path.exists(pem):
            return pem
        kind = ("rsa:2048",) if rsa else EC
        openssl("req", "-newkey", *kind, "-nodes", "-subj",
                "/CN=" + names[0], "-keyout", base + ".key", "-out",
                base + ".csr")
        with open(base + ".ext", "w") as out:
            out.write(names_extension(names) + "\n")
        openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert,
                "-CAkey", self.key, "-CAcreateserial", "-days", days,
                "-extfile", base + ".ext", "-out", base + ".crt")
        with open(pem, "w") as out:
            for part in (base + ".key", base + ".crt", self.cert):
                with open(part) as file:
                    out.write(file.read())
        os.chmod(pem, 0o644)
        return pem


def fingerprint(pem):
    """SHA-256 of the first certificate in a file, in hex."""
    with open(pem) as file:
        text = file.read()
    start = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----", start)
    der = ssl.PEM_cert_to_DER_cert(
        text[start:end] + "-----END CERTIFICATE-----\n")
    return hashlib.sha256(der).hexdigest()
