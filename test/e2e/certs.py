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


    def odd_leaf(self, label, names, subject="odd", extensions=(),
                 start=None, end="20500101000000Z", kind=EC, digest="sha256",
                 issuer=None):
        """A leaf as no honest authority makes it: names is the value of
        subjectAltName, DER:... too; issuer another leaf, or "self"."""
        base = os.path.join(self.directory, "odd." + label)
        conf, crt, key = base + ".conf", base + ".crt", base + ".key"
        chain = [self.cert] if issuer is None else []
        with open(conf, "w", encoding="ascii") as out:
            out.write("[ca]\ndefault_ca=d\n[d]\ndatabase=%s.db\n"
                      "new_certs_dir=%s\nrand_serial=yes\npolicy=p\n"
                      "unique_subject=no\n[p]\ncommonName=supplied\n[x]\n%s\n"
                      % (base, self.directory, "\n".join(
                          ["subjectAltName=" + (names or "")] * bool(names)
                          + list(extensions) + ["subjectKeyIdentifier=none"])))
        with open(base + ".db", "w", encoding="ascii"):
            pass
        openssl("req", "-newkey", *kind, "-nodes", "-subj", "/CN=" + subject,
                "-keyout", key, "-out", base + ".csr")
        if issuer == "self":
            signer = ["-selfsign", "-keyfile", key]
        elif issuer:
            signer = ["-cert", issuer, "-keyfile", issuer]
            chain.append(issuer)
        else:
            signer = ["-cert", self.cert, "-keyfile", self.key]
        openssl("ca", "-batch", "-config", conf, "-extensions", "x", "-md",
                digest, "-notext", "-in", base + ".csr", "-out", crt,
                *signer, "-startdate", start or "20000101000000Z",
                "-enddate", end)
        with open(base + ".pem", "w", encoding="ascii") as out:
            for part in [key, crt, *chain]:
                with open(part, encoding="ascii") as file:
                    out.write(file.read())
        os.chmod(base + ".pem", 0o644)
        return base + ".pem"


def fingerprint(pem):
    """SHA-256 of the first certificate in a file, in hex."""
    with open(pem) as file:
        text = file.read()
    start = text.index("-----BEGIN CERTIFICATE-----")
    end = text.index("-----END CERTIFICATE-----", start)
    der = ssl.PEM_cert_to_DER_cert(
        text[start:end] + "-----END CERTIFICATE-----\n")
    return hashlib.sha256(der).hexdigest()
