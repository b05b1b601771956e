package heloname

import "regexp"

// The built-in lists. Sources: PTR and HELO names in real mail of 2002 and of
// 2019 to 2026, makers' documentation, and the registries named below; those of
// the providers' PTR domains stand at providerRows. Date: 2026-11-26. The list of
// top-level domains is tlds.txt.

// reservedNames are suffixes under which no public mail server can exist; the
// longest one decides. example.com, example.net and example.org are left out:
// a name below a public TLD is no sign of a private network.
var reservedNames = map[source][]string{
	// IANA Special-Use Domain Names (RFC 6761), as of 2025-06; internal: ICANN
	// board, 2024-07-29; arpa: RFC 3172.
	fromRegistry: {
		"6tisch.arpa", "alt", "arpa", "eap.arpa", "eap-noob.arpa", "example", "home.arpa", "invalid",
		"ipv4only.arpa", "local", "localhost", "onion", "resolver.arpa", "service.arpa", "test",
		"in-addr.arpa", "internal", "ip6.arpa",
	},
	// In use on private networks: ICANN never delegates corp, home and mail (board,
	// 2018-02-04); the others are defaults of routers, operating systems and
	// cloud software. fritz.box is the maker's, and names customers' networks.
	fromCustom: {
		"corp", "home", "mail", "localdomain", "localdomain4", "localdomain6", "localhost4",
		"localhost6", "domain", "workgroup", "mshome.net", "intra", "intranet", "lan", "loc", "lcl",
		"localnet", "localnetwork", "priv", "private", "pvt", "dlan", "fritz.box", "homenet",
		"novalocal", "openstacklocal",
	},
}

// listedWords are words in host names, compared with each run of letters. ip,
// host, rev and generic are in none of the first four classes: default names
// of rented servers have them too.
var listedWords = map[wordClass][]string{
	// Access lines whose address changes hands.
	lineWord: {
		"adsl", "sdsl", "vdsl", "xdsl", "dsl", "ppp", "pppoe", "pppox", "dialup", "dial", "dialin",
		"dialinip", "dialip", "dyn", "dynamic", "dynip", "dynamicip", "dynadsl", "dhcp", "dip",
		"dipt", "pool", "pools", "cable", "cablemodem", "catv", "docsis", "hfc", "hsd", "cpe",
		"modem", "broadband", "bband", "wifi", "wlan", "wimax", "gprs", "umts", "lte", "mobile",
		"ftth", "fttb", "fttx", "fiber", "fibre", "gpon", "onu", "pon", "isdn", "subscriber",
		"subscr", "retail", "residential", "resi",
	},
	// Subscribers, only together with the client's address.
	weakWord: {
		"client", "clients", "cust", "customer", "customers", "user", "users", "home", "res",
		"node", "cm", "bb", "inet", "access", "internet", "unassigned", "unallocated",
	},
	// Business lines and rented servers: the name is not dynamic.
	staticWord: {
		"static", "stat", "stc", "sta", "fixed", "fix", "fixip", "business", "biz", "corp",
		"corporate", "enterprise", "dedicated", "dedi", "colo", "colocation", "server", "servers",
		"srv", "serv", "vps", "vds", "cloud", "hosting", "hosted", "instance", "vm", "kvm",
		"datacenter", "ded",
	},
	// Mail and other servers, named on purpose.
	mailWord: {
		"mail", "mails", "mailer", "mailers", "email", "emails", "smtp", "smtps", "mta", "mtas",
		"mx", "mxs", "relay", "relays", "out", "outbound", "outgoing", "inbound", "bounce",
		"bounces", "newsletter", "news", "em", "esp", "send", "sender", "senders", "sending",
		"mailing", "list", "lists", "msg", "message", "messages", "notify", "post", "postfix",
		"exchange", "exch", "exim", "zimbra", "gw", "gateway", "edge", "ns", "dns", "www", "web",
		"delivery", "campaign", "transactional", "bulk", "spf", "dkim", "antispam", "spam",
		"filter", "fw", "firewall",
	},
	// In a PTR name with a digit: a rented server or an access line without a name
	// of its own. A word may be of one other class too.
	rentedWord: {
		"adsl", "broadband", "cable", "client", "clients", "cust", "customer", "customers", "dhcp",
		"dial", "dialin", "dialup", "dip", "dsl", "dyn", "dynamic", "fiber", "fibre", "ftth",
		"gprs", "hfc", "host", "lte", "mobile", "modem", "pool", "pools", "ppp", "pppoe", "res",
		"residential", "sdsl", "user", "users", "vdsl", "wireless", "xdsl", "hwsrv", "ptr",
		"unassigned", "unused", "vds", "vm", "vps", "vs",
	},
}

// oldTLDs are the generic TLDs from before ICANN's New gTLD Program of 2012.
// Every other TLD of more than two letters is new, unless internationalised.
// Source: IANA Root Zone Database, delegation dates.
var oldTLDs = []string{
	"com", "net", "org", "edu", "gov", "int", "mil", "arpa",
	"aero", "biz", "coop", "info", "museum", "name", "pro",
	"asia", "cat", "jobs", "mobi", "post", "tel", "travel", "xxx",
}

// freeTLDs are the country codes whose registry (Freenom) gave names away free
// until 2023.
var freeTLDs = []string{"cf", "ga", "gq", "ml", "tk"}

// defaultLabels are the words of first labels that installers, hosting panels and clouds make, with
// what follows them there.
var defaultLabels = []struct {
	by    string // the evidence
	tail  *regexp.Regexp
	words []string
}{
	{"default name of a rented server", regexp.MustCompile(`^-?\d{0,8}$`),
		[]string{"host", "slot", "default", "panel", "plesk", "cpanel", "cwp"}},
	{"default name of a rented server", regexp.MustCompile(`^-?\d{1,8}$`), []string{"server", "srv"}},
	{"default name of a rented server", regexp.MustCompile(`^-?\d{3,8}$`),
		[]string{"vps", "vds", "vm", "node"}},
	{"name of a system image", regexp.MustCompile(`^(?:\d*|-[0-9a-z-]+)$`),
		[]string{"ubuntu", "debian", "centos"}},
	{"name made by Windows set-up", regexp.MustCompile(`^-[0-9a-z]{7,12}$`),
		[]string{"win", "desktop", "laptop"}},
	{"name made of an address", regexp.MustCompile(`^(?:-\d{1,3}){4}$`), []string{"ip"}},
	{"name made by a cloud", regexp.MustCompile(`^-[0-9a-z-]+$`), []string{"ecs"}},
	{"name made by a cloud", regexp.MustCompile(`^-[0-9a-f]{8,17}$`), []string{"i"}},
}

// serialLabel matches the id of a container, a number, a short word with a number, and a name made
// by Alibaba Cloud (iZ, letters and digits, Z).
var serialLabel = regexp.MustCompile(
	`^(?:[0-9a-f]{12}|\d{5,}|[a-z]{1,6}-?\d{6,}|iz[0-9a-z]{10,}z)$`)

// rentedDomains are domains below which rented machines get their first names.
var rentedDomains = []string{
	// hosting panels
	"plesk.space", "plesk.page", "cloudwaysapps.com", "cloudwayssites.com",
	// rented servers
	"contaboserver.net", "hostwindsdns.com", "clientshostname.com", "time4vps.cloud",
	"vps.ovh.net", "vps.ovh.ca", "vps.ovh.us",
	// clouds
	"compute.amazonaws.com", "compute-1.amazonaws.com", "googleusercontent.com",
	"members.linode.com", "linodeusercontent.com", "vultrusercontent.com",
	"hwclouds-dns.com", "cloudapp.net", "cloudapp.azure.com",
}

// networkDomain matches names under OVH's domains of three octets: ip-192-0-2.eu.
var networkDomain = regexp.MustCompile(`(?:^|\.)ip(?:-\d{1,3}){3}\.(?:eu|net|us|com|ca)$`)

// providerRow describes a provider. All hosts below the strong domains have a
// PTR name of the provider; of the helo domains only the domain itself is
// judged, since customers have names below it. ptr are further PTR domains.
type providerRow struct {
	name              string
	strong, helo, ptr []string
}

// providerRows are the well-known providers. "NAME.*" is a family, see Provider.
//
// Domains in which customers get host names (googleusercontent.com,
// amazonaws.com, cloudapp.azure.com) are no PTR domains: such a PTR proves
// nothing. onmicrosoft.com is left out, since customers name their own servers
// in it.
//
// italiaonline.it, from which libero.it greets, was seen in recorded mail. The
// other ptr domains come from the maintainers' knowledge and were not read from
// SPF records. An operator that has moved its mailboxes has the new one's too:
// cox.net and att.net are at Yahoo, xs4all.nl at KPN, pobox.com at Fastmail.
var providerRows = []providerRow{
	{
		name:   "google",
		strong: []string{"google.com", "gmail.com", "googlemail.com"},
		ptr:    []string{"1e100.net"},
	},
	{
		name:   "microsoft",
		strong: []string{"outlook.com", "hotmail.com", "live.com", "msn.com"},
		helo: []string{
			"windowslive.com",
			"hotmail.*", "live.*", "msn.*", "outlook.*", "office365.com", "office365.us",
			"microsoft.com",
		},
		ptr: []string{"passport.com", "webtv.net"},
	},
	{
		name: "microsoft-old",
		helo: []string{"passport.com", "webtv.net"},
		ptr:  []string{"microsoft.com", "hotmail.com", "msn.com", "outlook.com"},
	},
	{
		name:   "yahoo",
		strong: []string{"yahoo.com", "ymail.com", "aol.com"},
		helo: []string{
			"yahoo.*", "rocketmail.com", "yahoodns.net", "aol.*", "aim.com", "aol.net",
			"netscape.net", "netscape.com", "compuserve.com", "cs.com",
		},
		ptr: []string{"yahoo.net", "oath.com", "yahooinc.com"},
	},
	{name: "yahoo-japan", helo: []string{"yahoo.co.jp"}, ptr: []string{"yahoo.ne.jp"}},
	{
		name:   "apple",
		strong: []string{"icloud.com", "me.com", "mac.com"},
		helo:   []string{"apple.com"},
		ptr:    []string{"aaplimg.com"},
	},
	{
		name:   "gmx",
		strong: []string{"gmx.net", "gmx.de", "gmx.com", "web.de"},
		helo: []string{
			"online.de",
			"gmx.*", "1und1.de", "1and1.com", "kundenserver.de", "perfora.net", "ionos.com",
		},
		ptr: []string{"ui-portal.de", "ui-portal.com", "mail.com"},
	},
	{
		name: "mail.com",
		helo: []string{
			"lawyer.com", "mindless.com", "planetmail.com", "doctor.com",
			"mail.com", "email.com", "usa.com", "europe.com", "iname.com", "consultant.com",
			"engineer.com", "post.com", "asia.com", "dr.com", "myself.com", "financier.com",
			"techie.com", "writeme.com", "accountant.com", "cheerful.com",
		},
		ptr: []string{"gmx.net", "gmx.com", "kundenserver.de"},
	},
	{
		name:   "mail.ru",
		strong: []string{"mail.ru"},
		helo:   []string{"bk.ru", "inbox.ru", "list.ru", "smailru.net"},
		ptr:    []string{"vk.com", "vk.company", "vk.team"},
	},
	{
		name:   "yandex",
		strong: []string{"yandex.ru", "yandex.com"},
		helo:   []string{"ya.ru", "yandex.net", "yandex.by", "yandex.kz", "yandex.ua"},
		ptr:    []string{"yandex-team.ru"},
	},
	{name: "qq", strong: []string{"qq.com", "foxmail.com"}, ptr: []string{"tencent.com"}},
	{
		name:   "netease",
		strong: []string{"163.com", "126.com", "yeah.net"},
		helo:   []string{"188.com", "netease.com"},
		ptr:    []string{"163.net", "ntesmail.com"},
	},
	{
		name:   "proton",
		strong: []string{"proton.me", "protonmail.com", "protonmail.ch"},
		helo:   []string{"proton.ch", "pm.me"},
		ptr:    []string{"simplelogin.co"},
	},
	{
		name:   "fastmail",
		strong: []string{"fastmail.com"},
		helo:   []string{"fastmail.fm", "messagingengine.com"},
		ptr:    []string{"pobox.com"},
	},
	{
		name:   "zoho",
		strong: []string{"zoho.com"},
		helo: []string{
			"zoho.eu", "zoho.in", "zoho.jp", "zoho.com.au", "zoho.com.cn", "zohocloud.ca",
			"zohomail.com", "zohomail.eu", "zohocorp.com", "zeptomail.com", "zcsend.net",
		},
		ptr: []string{"transmail.net"},
	},
	{
		name:   "facebook",
		strong: []string{"facebook.com"},
		helo:   []string{"facebookmail.com", "meta.com"},
		ptr:    []string{"tfbnw.net", "fbsv.net"},
	},
	{name: "linkedin", strong: []string{"linkedin.com"}},
	{name: "ebay", strong: []string{"ebay.com"}},
	{name: "paypal", strong: []string{"paypal.com"}},
	{name: "amazon", helo: []string{"amazon.com"}, ptr: []string{"amazonses.com"}},
	{name: "amazon-ses", helo: []string{"amazonses.com"}},
	{name: "sendgrid", helo: []string{"sendgrid.net", "sendgrid.com"}},
	{
		name: "mailgun",
		helo: []string{
			"mailgun.net", "mailgun.org", "mailgun.com", "mailgun.us", "mailgun.info",
			"mailgun.co",
		},
	},
	{
		name: "mailchimp",
		helo: []string{
			"mailchimp.com", "mailchimpapp.net", "mcsv.net", "mcdlv.net", "rsgsv.net",
			"mandrillapp.com",
		},
	},
	{name: "sina", helo: []string{"sina.com", "sina.cn", "sina.com.cn", "vip.sina.com"}},
	{name: "263", helo: []string{"263.net"}, ptr: []string{"263xmail.com"}},
	{name: "139", helo: []string{"139.com"}, ptr: []string{"chinamobile.com"}},
	{name: "189", helo: []string{"189.cn"}, ptr: []string{"chinatelecom.cn"}},
	{name: "aliyun", helo: []string{"aliyun.com", "alibaba.com"}},
	{
		name: "arcor",
		helo: []string{"arcor.de"},
		ptr:  []string{"arcor-online.net", "vodafone.de", "vodafonemail.de"},
	},
	{name: "orange", helo: []string{"voila.fr", "orange.fr", "wanadoo.*"}},
	{
		name: "sfr",
		helo: []string{"club-internet.fr", "noos.fr", "sfr.fr", "neuf.fr"},
		ptr:  []string{"sfr.net"},
	},
	{
		name: "libero",
		helo: []string{"inwind.it", "libero.it", "iol.it"},
		ptr:  []string{"italiaonline.it"},
	},
	{
		name: "virgilio",
		helo: []string{"virgilio.it", "tin.it", "alice.it"},
		ptr:  []string{"italiaonline.it", "tim.it", "telecomitalia.it"},
	},
	{name: "tiscali", helo: []string{"lineone.net", "tiscali.*"}, ptr: []string{"talktalk.net"}},
	{
		name: "btinternet",
		helo: []string{"btinternet.com", "btopenworld.com"},
		ptr:  []string{"cpcloud.co.uk", "bt.com", "bt.net"},
	},
	{
		name: "virginmedia",
		helo: []string{"virginmedia.com", "ntlworld.com"},
		ptr:  []string{"virginmedia.net", "upcmail.net"},
	},
	{name: "sky", helo: []string{"sky.com"}, ptr: []string{"yahoo.com"}},
	{
		name: "verizon",
		helo: []string{"gte.net", "verizon.net"},
		ptr:  []string{"vzwmail.net", "aol.com", "yahoo.com"},
	},
	{
		name: "att",
		helo: []string{
			"prodigy.net", "swbell.net", "ameritech.net", "flash.net",
			"att.net", "sbcglobal.net", "bellsouth.net", "pacbell.net", "worldnet.att.net",
		},
		ptr: []string{"yahoo.com"},
	},
	{
		name: "earthlink",
		helo: []string{"earthlink.net", "mindspring.com"},
		ptr:  []string{"earthlink-vadesecure.net"},
	},
	{name: "charter", helo: []string{"charter.net", "spectrum.net"}, ptr: []string{"rr.com"}},
	{
		name: "juno",
		helo: []string{"juno.com", "netzero.net", "netzero.com"},
		ptr:  []string{"untd.com"},
	},
	{name: "optonline", helo: []string{"optonline.net"}, ptr: []string{"optimum.net", "cv.net"}},
	{name: "rogers", helo: []string{"rogers.com"}, ptr: []string{"yahoo.com"}},
	{name: "shaw", helo: []string{"shaw.ca"}, ptr: []string{"shawcable.net"}},
	{
		name: "sympatico",
		helo: []string{"sympatico.ca"},
		ptr:  []string{"bell.net", "bell.ca", "bellnexxia.net"},
	},
	{name: "uol", helo: []string{"uol.com.br", "bol.com.br"}},
	{name: "terra", helo: []string{"terra.com.br", "terra.com", "ig.com.br"}},
	{name: "daum", helo: []string{"daum.net", "hanmail.net"}, ptr: []string{"kakao.com"}},
	{
		name: "rediffmail",
		helo: []string{"rediffmail.com"},
		ptr:  []string{"rediffmailpro.com", "rediff.com"},
	},
	{
		name: "tutanota",
		helo: []string{"tutanota.com", "tuta.com"},
		ptr:  []string{"tutao.de", "tutanota.de"},
	},
	{
		name: "lycos",
		helo: []string{"lycos.com", "angelfire.com", "mailcity.com", "tripod.com", "lycos.*"},
		ptr:  []string{"lycos.net"},
	},
	{name: "hotbot", helo: []string{"hotbot.com"}, ptr: []string{"lycos.com"}},
	{name: "eudoramail", helo: []string{"eudoramail.com"}, ptr: []string{"lycos.com"}},
	{name: "netaddress", helo: []string{"netaddress.com"}, ptr: []string{"usa.net"}},
	{name: "mixmail", helo: []string{"mixmail.com"}, ptr: []string{"ya.com", "terra.es"}},
	{name: "latinmail", helo: []string{"latinmail.com", "starmedia.com"}},
	{name: "o2", helo: []string{"wp.pl", "o2.pl", "tlen.pl"}},
	{name: "onet", helo: []string{"onet.pl", "op.pl"}},
	{
		name: "bigpond",
		helo: []string{"bigpond.com"},
		ptr:  []string{"telstra.com", "bigpond.net.au", "telstra.net"},
	},
	{
		name: "planet",
		helo: []string{"hetnet.nl", "xs4all.nl", "planet.nl", "zonnet.nl"},
		ptr:  []string{"kpnmail.nl", "kpn.net", "versatel.net"},
	},
	{name: "cox", helo: []string{"cox.net"}, ptr: []string{"yahoo.com"}},
	{name: "rr", helo: []string{"rr.com"}, ptr: []string{"charter.net"}},
	{name: "aon", helo: []string{"aon.at"}, ptr: []string{"a1.net", "highway.telekom.at"}},
	{name: "upc", helo: []string{"chello.at", "hispeed.ch"}, ptr: []string{"upcmail.net"}},
	{
		name: "ziggo",
		helo: []string{"chello.nl", "home.nl"},
		ptr:  []string{"as9143.net", "ziggo.nl"},
	},
	{
		name: "telenet",
		helo: []string{"telenet.be", "pandora.be"},
		ptr:  []string{"telenet-ops.be"},
	},
	{name: "proximus", helo: []string{"skynet.be"}, ptr: []string{"belgacom.be", "proximus.be"}},
	{
		name: "swisscom",
		helo: []string{"bluewin.ch", "bluemail.ch"},
		ptr:  []string{"swisscom.com"},
	},
	{name: "telekom", helo: []string{"t-online.de", "telekom.de"}},
	{name: "free", helo: []string{"free.fr", "libertysurf.fr"}},
	{name: "seznam", helo: []string{"seznam.cz", "post.cz"}},
	{name: "elisa", helo: []string{"kolumbus.fi"}, ptr: []string{"saunalahti.fi", "elisa.fi"}},
	{name: "telia", helo: []string{"telia.com"}, ptr: []string{"skanova.net"}},
	{name: "movistar", helo: []string{"telefonica.net"}, ptr: []string{"movistar.es"}},
	{name: "tim", helo: []string{"tim.it"}, ptr: []string{"telecomitalia.it"}},
	{name: "talktalk", helo: []string{"talktalk.net"}, ptr: []string{"cpcloud.co.uk"}},
	{name: "ukr.net", helo: []string{"ukr.net"}, ptr: []string{"fwdcdn.com"}},
	{name: "naver", helo: []string{"naver.com", "naver.net"}},
	{name: "walla", helo: []string{"walla.co.il", "walla.com"}},
	{name: "pobox", helo: []string{"pobox.com"}, ptr: []string{"messagingengine.com"}},
	{
		name: "terra-es",
		helo: []string{"terra.es", "terra.cl", "terra.com.mx", "terra.com.pe"},
		ptr:  []string{"terra.com"},
	},
}

// mailboxDomains are providers of one domain, as if each were the only helo
// domain of a row.
var mailboxDomains = []string{
	"21cn.com", "24horas.com", "2die4.com", "37.com", "abv.bg", "adelphia.net", "africamail.com",
	"altavista.com", "another.com", "arabia.com", "arnet.com.ar", "asiamail.com", "bigfoot.com",
	"bigmir.net", "boardermail.com", "breathe.com", "canada.com", "caramail.com", "catholic.org",
	"centrum.cz", "chez.com", "china.com", "citromail.hu", "ciudad.com.ar", "clix.pt",
	"comcast.net", "concentric.net", "dhl.com", "dubaimail.com", "eircom.net", "email.it",
	"epost.de", "erols.com", "excite.com", "fastermail.com", "fedex.com", "fibertel.com.ar",
	"firemail.de", "flashmail.com", "freemail.gr", "freemail.hu", "freemail.it", "freemail.nl",
	"freemail.ru", "freenet.de", "freeserve.co.uk", "fsnet.co.uk", "geocities.com", "globo.com",
	"go.com", "goo.ne.jp", "hanmir.com", "hinet.net", "home.com", "home.se", "hongkong.com",
	"hotbox.ru", "hotpop.com", "hotvoice.com", "hushmail.com", "i.ua", "ifrance.com",
	"ihug.co.nz", "iinet.net.au", "inbox.com", "inbox.lv", "india.com", "indiatimes.com",
	"inicia.es", "interia.pl", "iol.ie", "iol.pt", "iprimus.com.au", "iwon.com", "jippii.fi",
	"jubii.dk", "jumpy.it", "justmail.de", "korea.com", "kornet.net", "laposte.net", "luukku.com",
	"mail.bg", "mail.gr", "mail15.com", "mail2world.com", "mailandnews.com", "mailbox.hu",
	"mailexcite.com", "mailme.dk", "maktoob.com", "mediaone.net", "meta.ua", "mweb.co.za",
	"mynet.com", "myrealbox.com", "nate.com", "netcabo.pt", "netvigator.com", "netvision.net.il",
	"newmail.ru", "nextel.com.br", "nifty.com", "nm.ru", "nomade.fr", "ofir.dk", "oi.com.br",
	"onebox.com", "online.no", "operamail.com", "optusnet.com.au", "ozemail.com.au", "ozu.es",
	"pacific.net.sg", "paradise.net.nz", "passagen.se", "pchome.com.tw", "pinoymail.com",
	"planetinternet.be", "pochta.ru", "poczta.fm", "post.sk", "postino.it", "postmaster.co.uk",
	"prodigy.net.mx", "qudsmail.com", "rambler.ru", "sapo.pt", "seed.net.tw", "sify.com",
	"singnet.com.sg", "snet.net", "softhome.net", "sohu.com", "spray.se", "suomi24.fi",
	"supereva.it", "superonline.com", "telkomsa.net", "theglobe.com", "tom.com", "totalise.co.uk",
	"ttnet.net.tr", "uk2.net", "ureach.com", "usa.net", "utanet.at", "verizonmail.com",
	"vipmail.hu", "volny.cz", "vsnl.com", "vsnl.net", "webmail.co.za", "xoom.com", "xoommail.com",
	"xtra.co.nz", "ya.com", "yam.com", "zipmail.com.br", "zwallet.com", "zzn.com",
}
