/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * limits.h - every limit of the program, with its unit and its reason.
 */
#ifndef DMA_LIMITS_H
#define DMA_LIMITS_H

/* Addresses and names, in bytes without the terminator. */
#define ADDR_LOCAL_MAX  64   /* RFC 5321, 4.5.3.1.1 */
#define ADDR_DOMAIN_MAX 253  /* RFC 1035, 2.3.4, as text */
#define ADDR_LABEL_MAX  63   /* RFC 1035, 2.3.4 */
#define ADDR_MAX        254  /* RFC 5321, 4.5.3.1.3: a path less its <> */
#define ADDR_INPUT_MAX  4096 /* one address with its phrase and comments */
#define USERNAME_MAX    32   /* a login name that we will deliver to */
#define FULLNAME_MAX    255  /* -F and the account's full name */
#define ENVID_MAX       100  /* RFC 3461, 4.4 */
#define ORCPT_MAX       500  /* RFC 3461, 4.2 */

/* A message on its way in. */
#define HEADER_MAX       (1024 * 1024) /* bytes of header held in memory */
#define RECIPIENTS_MAX   10000         /* RFC 5321, 4.5.3.1.8 asks for 100 */
#define MAXSIZE_DEFAULT  (50LL << 20)  /* bytes */
#define MINFREE_DEFAULT  5             /* percent of blocks and inodes */
#define MAIL_DRAIN_MAX   (64LL << 20)  /* bytes read of what was refused */
#define MAIL_DRAIN_MS    1000          /* of silence, then we do not wait */
#define LINE_WIRE_MAX    998           /* RFC 5322, 2.1.1, without CRLF */
#define ALIAS_DEPTH_MAX  50            /* expansions of one recipient */
#define INCLUDES_MAX     100           /* lists that one recipient leads to */
#define CONF_FILE_MAX    (1024 * 1024) /* bytes of dma.conf, auth.conf */
#define SENDERS_FILE_MAX (1024 * 1024) /* bytes */
#define INCLUDE_FILE_MAX (1024 * 1024) /* bytes of a list in the alias file */
#define ALIASES_FILE_MAX (64 * 1024 * 1024) /* bytes */
#define RETRY_STEPS_MAX  16
#define NOTICES_PER_HOUR 60    /* to one address; more are spread out */
#define NOTICES_WAIT_MAX 86400 /* seconds that this puts one off */
#define NOTICES_ADDRS    64    /* whose count is kept, for each uid */

/* A message on its way out. */
#define MIME_DEPTH_MAX    32  /* parts in parts that are looked into */
#define MIME_BOUNDARY_MAX 250 /* bytes; RFC 2046, 5.1.1 has 70 */

/* The spool. */
#define QUEUE_ID_LEN     20 /* 7 base-32 digits of uid, 13 random ones */
#define QUEUE_ID_UID_LEN 7
#define QUEUE_ID_MAX     40 /* a notice's: the id, then xN, perhaps twice */
#define ENVELOPE_MAX     (32 * 1024 * 1024) /* bytes of one envelope */
#define JOURNAL_MAX      (64 * 1024)        /* bytes after the message */
#define TMP_AGE_MAX      (24 * 60 * 60)     /* seconds until tmp.* is swept */

/* The spool of DragonFly's dma. */
#define SPOOL_OLD_NAME_MAX 64   /* two 64-bit numbers and more */
#define SPOOL_OLD_TEXT_MAX 4096 /* bytes: three lines with two addresses */

/* The runner. */
#define AGENTS_DEFAULT          20
#define AGENTS_MAX              1000
#define AGENTS_PER_HOST_DEFAULT 20
#define AGENT_CRASHES_MAX       3   /* then the message travels alone */
#define JOB_RECIPIENTS_MAX      100 /* RFC 5321, 4.5.3.1.8: one transaction */
#define JOBS_PER_AGENT          8   /* under way or in hand, at most */
#define JOBS_PER_CONNECTION     100
#define ITEMS_MAX               200000 /* messages in line: 32 bytes each */
#define NEXT_HOPS_MAX           20000  /* 2 KB each; twice a message's */
#define NEXT_HOPS_KEPT          5000   /* of these, beside those in use */
#define OPEN_RECIPIENTS_MAX     50000  /* of open messages: 400 bytes each */
#define RECORD_MAX              (160 * 1024) /* bytes of one job or result */
#define CREDENTIAL_MAX          1024 /* bytes of user, and of password */
#define PASSWORD_HIDDEN_MIN     4 /* bytes; shorter ones are part of any text */
#define CERTFILE_MAX            (64 * 1024)
#define OUTCOME_TEXT_MAX        1024  /* printable bytes kept of a reply */
#define RELAY_TEXT_MAX          320   /* host[address]:port */
#define RUN_POLL_MAX_MS         60000 /* suspended laptops catch up */
#define TURN_RESULTS_MAX        50    /* results for one directory fsync */
#define TURN_MS_MAX             20
#define WAKE_TRY_MS_MAX         10000 /* submitter beside an ending runner */
#define FLUSH_LOCK_MS_MAX       60000 /* -q beside a live runner */

/* The queue tools. */
#define CTL_PREFIX_MIN  8    /* digits of an id: beyond the uid's seven */
#define CTL_LOCK_MS_MAX 5000 /* for all messages that a runner has together */

/* The SMTP client (RFC 5321, 4.5.3.2), milliseconds. */
#define SMTP_CONNECT_MS    30000
#define SMTP_GREETING_MS   300000
#define SMTP_COMMAND_MS    300000
#define SMTP_TLS_MS        120000
#define SMTP_DATA_INIT_MS  120000
#define SMTP_DATA_BLOCK_MS 180000
#define SMTP_DATA_END_MS   600000
#define SMTP_QUIT_MS       5000
#define SMTP_SESSION_MS    1800000 /* and SMTP_DATA_RATE for the message */
#define SMTP_DATA_RATE     500     /* bytes a second, at least */
#define SMTP_LINE_MAX      2048    /* bytes of one reply line */
#define SMTP_LINES_MAX     128     /* lines of one reply */
#define SMTP_COMMAND_MAX   2048    /* bytes of one command we send */
#define SASL_LINE_MAX      12288   /* RFC 4954, 4 */
#define DNS_NAME_MS        30000   /* all queries for one name */
#define DNS_ANSWER_MAX     65535
#define DNS_CNAME_MAX      10
#define DNS_MX_MAX         100
#define MX_ADDRESSES_MAX   10 /* addresses tried for one job */

/* SMTP on standard input (RFC 5321, 4.5.3), milliseconds unless said. */
#define SMTPD_LINE_MAX   2048    /* bytes of a command with its parameters */
#define SMTPD_ERRORS_MAX 20      /* since the last message; then it ends */
#define SMTPD_COMMAND_MS 300000  /* 4.5.3.2.7; for each command, and reply */
#define SMTPD_DATA_MS    1800000 /* for a whole message */

/* Local delivery, milliseconds unless said. */
#define MBOX_LOCK_MS       20000
#define MBOX_STALE_S       500 /* age of a dotlock whose owner is gone */
#define MBOX_POLL_FIRST_MS 5   /* most programs hold a lock for an instant */
#define MBOX_POLL_MAX_MS   25  /* who looks seldom never gets a busy lock */
#define DOTLOCK_SIZE_MAX   64  /* bytes; a larger NAME.lock is a mailbox */
#define MAILDIR_TRIES_MAX  10  /* names for one message, each taken */
#define FORWARD_FILE_MAX   (64 * 1024) /* bytes; one submission's arguments */
#define EXTENSION_MAX      32          /* bytes of user+extension's file */
#define TARGET_MAX         1000 /* bytes of MAILBOX, or of a file or command */
#define COMMAND_WORDS_MAX  64   /* a command and its arguments */
#define COMMAND_OUTPUT_MAX 1000 /* bytes kept, of what it says */
#define COMMAND_MS         600000  /* for one; procmail's is 960 s */
#define DELIVERY_MS        1200000 /* for a message; the runner waits 30 min */
/*
 * A runner that is silent for so long, all its pauses together, may have been
 * stopped by its user, again and again, who must not keep another's mailbox
 * locked (V-21): less than others wait.  Nor may one that is busy for longer:
 * then the lock is free for a moment.
 */
#define MBOX_IDLE_MS (MBOX_LOCK_MS / 2)

#endif
