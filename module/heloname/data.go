package heloname

import (
	"regexp"
	"strings"
)

// The built-in lists. Sources: PTR and HELO names in real mail of 2002 and of 2019 to 2026, makers'
// documentation, and the registries named below; those of the providers' PTR domains stand at
// providerRows. Date: 2026-11-26. The list of top-level domains is tlds.txt.

// reservedNames are suffixes under which no public mail server can exist; the
// longest one decides. example.com, example.net and example.org are left out:
// a name below a public TLD is no sign of a private network.
//
// First IANA Special-Use Domain Names (RFC 6761), as of 2025-06; internal: ICANN board, 2024-07-29;
// arpa: RFC 3172. Then names in use on private networks: ICANN never delegates corp, home and mail
// (board, 2018-02-04); the others are defaults of routers, operating systems and cloud software.
// fritz.box is the maker's, and names customers' networks.
var reservedNames = strings.Fields(`
	6tisch.arpa alt arpa eap.arpa eap-noob.arpa example home.arpa invalid ipv4only.arpa local
	localhost onion resolver.arpa service.arpa test in-addr.arpa internal ip6.arpa

	corp home mail localdomain localdomain4 localdomain6 localhost4 localhost6 domain workgroup
	mshome.net intra intranet lan loc lcl localnet localnetwork priv private pvt dlan fritz.box
	homenet novalocal openstacklocal`)

// listedWords are words in host names, compared with each run of letters. ip, host, rev and generic
// are in none of the first four classes: default names of rented servers have them too.
var listedWords = map[wordClass]string{
	// Access lines whose address changes hands.
	lineWord: `
		adsl sdsl vdsl xdsl dsl ppp pppoe pppox dialup dial dialin dialinip dialip dyn dynamic
		dynip dynamicip dynadsl dhcp dip dipt pool pools cable cablemodem catv docsis hfc hsd cpe
		modem broadband bband wifi wlan wimax gprs umts lte mobile ftth fttb fttx fiber fibre gpon
		onu pon isdn subscriber subscr retail residential resi`,
	// Subscribers, only together with the client's address.
	weakWord: `
		client clients cust customer customers user users home res node cm bb inet access internet
		unassigned unallocated`,
	// Business lines and rented servers: the name is not dynamic.
	staticWord: `
		static stat stc sta fixed fix fixip business biz corp corporate enterprise dedicated dedi
		colo colocation server servers srv serv vps vds cloud hosting hosted instance vm kvm
		datacenter ded`,
	// Mail and other servers, named on purpose.
	mailWord: `
		mail mails mailer mailers email emails smtp smtps mta mtas mx mxs relay relays out outbound
		outgoing inbound bounce bounces newsletter news em esp send sender senders sending mailing
		list lists msg message messages notify post postfix exchange exch exim zimbra gw gateway
		edge ns dns www web delivery campaign transactional bulk spf dkim antispam spam filter fw
		firewall`,
	// In a PTR name with a digit: a rented server or an access line without a name
	// of its own. A word may be of one other class too.
	rentedWord: `
		adsl broadband cable client clients cust customer customers dhcp dial dialin dialup dip dsl
		dyn dynamic fiber fibre ftth gprs hfc host lte mobile modem pool pools ppp pppoe res
		residential sdsl user users vdsl wireless xdsl hwsrv ptr unassigned unused vds vm vps vs`,
}

// oldTLDs are the generic TLDs from before ICANN's New gTLD Program of 2012.
// Every other TLD of more than two letters is new, unless internationalised.
// Source: IANA Root Zone Database, delegation dates.
var oldTLDs = strings.Fields(`com net org edu gov int mil arpa aero biz coop info museum name pro
	asia cat jobs mobi post tel travel xxx`)

// freeTLDs are the country codes whose registry (Freenom) gave names away free until 2023.
var freeTLDs = []string{"cf", "ga", "gq", "ml", "tk"}

// defaultLabels are the first labels that installers, hosting panels and clouds make.
var defaultLabels = []struct {
	by    string // the evidence
	label *regexp.Regexp
}{
	{"default name of a rented server", regexp.MustCompile(
		`^(?:(?:host|slot|default|panel|plesk|cpanel|cwp)-?\d{0,8}|(?:server|srv)-?\d{1,8}|` +
			`(?:vps|vds|vm|node)-?\d{3,8})$`)},
	{"name of a system image", regexp.MustCompile(`^(?:ubuntu|debian|centos)(?:\d*|-[0-9a-z-]+)$`)},
	{"name made by Windows set-up", regexp.MustCompile(`^(?:win|desktop|laptop)-[0-9a-z]{7,12}$`)},
	{"name made of an address", regexp.MustCompile(`^ip(?:-\d{1,3}){4}$`)},
	{"name made by a cloud", regexp.MustCompile(`^(?:ecs-[0-9a-z-]+|i-[0-9a-f]{8,17})$`)},
	// The id of a container, a number, a short word with a number, and a name made by Alibaba Cloud.
	{"id or serial number", regexp.MustCompile(
		`^(?:[0-9a-f]{12}|\d{5,}|[a-z]{1,6}-?\d{6,}|iz[0-9a-z]{10,}z)$`)},
}

// rentedDomains are domains below which rented machines get their first names: of
// hosting panels, rented servers and clouds.
var rentedDomains = strings.Fields(`
	plesk.space plesk.page cloudwaysapps.com cloudwayssites.com
	contaboserver.net hostwindsdns.com clientshostname.com time4vps.cloud vps.ovh.net vps.ovh.ca
	vps.ovh.us
	compute.amazonaws.com compute-1.amazonaws.com googleusercontent.com members.linode.com
	linodeusercontent.com vultrusercontent.com hwclouds-dns.com cloudapp.net cloudapp.azure.com`)

// networkDomain matches names under OVH's domains of three octets: ip-192-0-2.eu.
var networkDomain = regexp.MustCompile(`(?:^|\.)ip(?:-\d{1,3}){3}\.(?:eu|net|us|com|ca)$`)

// providerRow describes a provider. All hosts below the strong domains have a
// PTR name of the provider; of the helo domains only the domain itself is
// judged, since customers have names below it. ptr are further PTR domains.
type providerRow struct{ name, strong, helo, ptr string }

// providerRows are the well-known providers. "NAME.*" is a family, see Provider.
//
// Domains in which customers get host names (googleusercontent.com, amazonaws.com,
// cloudapp.azure.com) are no PTR domains: such a PTR proves nothing. onmicrosoft.com is left out,
// since customers name their own servers in it.
//
// italiaonline.it, from which libero.it greets, was seen in recorded mail. The
// other ptr domains come from the maintainers' knowledge and were not read from
// SPF records. An operator that has moved its mailboxes has the new one's too:
// cox.net and att.net are at Yahoo, xs4all.nl at KPN, pobox.com at Fastmail.
var providerRows = []providerRow{
	{name: "google", strong: "google.com gmail.com googlemail.com", ptr: "1e100.net"},
	{name: "microsoft", strong: "outlook.com hotmail.com live.com msn.com",
		helo: "windowslive.com hotmail.* live.* msn.* outlook.* office365.com office365.us " +
			"microsoft.com",
		ptr: "passport.com webtv.net"},
	{name: "microsoft-old", helo: "passport.com webtv.net",
		ptr: "microsoft.com hotmail.com msn.com outlook.com"},
	{name: "yahoo", strong: "yahoo.com ymail.com aol.com",
		helo: "yahoo.* rocketmail.com yahoodns.net aol.* aim.com aol.net netscape.net " +
			"netscape.com compuserve.com cs.com",
		ptr: "yahoo.net oath.com yahooinc.com"},
	{name: "yahoo-japan", helo: "yahoo.co.jp", ptr: "yahoo.ne.jp"},
	{name: "apple", strong: "icloud.com me.com mac.com", helo: "apple.com", ptr: "aaplimg.com"},
	{name: "gmx", strong: "gmx.net gmx.de gmx.com web.de",
		helo: "online.de gmx.* 1und1.de 1and1.com kundenserver.de perfora.net ionos.com",
		ptr:  "ui-portal.de ui-portal.com mail.com"},
	{name: "mail.com",
		helo: "lawyer.com mindless.com planetmail.com doctor.com mail.com email.com usa.com " +
			"europe.com iname.com consultant.com engineer.com post.com asia.com dr.com " +
			"myself.com financier.com techie.com writeme.com accountant.com cheerful.com",
		ptr: "gmx.net gmx.com kundenserver.de"},
	{name: "mail.ru", strong: "mail.ru", helo: "bk.ru inbox.ru list.ru smailru.net",
		ptr: "vk.com vk.company vk.team"},
	{name: "yandex", strong: "yandex.ru yandex.com",
		helo: "ya.ru yandex.net yandex.by yandex.kz yandex.ua", ptr: "yandex-team.ru"},
	{name: "qq", strong: "qq.com foxmail.com", ptr: "tencent.com"},
	{name: "netease", strong: "163.com 126.com yeah.net", helo: "188.com netease.com",
		ptr: "163.net ntesmail.com"},
	{name: "proton", strong: "proton.me protonmail.com protonmail.ch", helo: "proton.ch pm.me",
		ptr: "simplelogin.co"},
	{name: "fastmail", strong: "fastmail.com", helo: "fastmail.fm messagingengine.com",
		ptr: "pobox.com"},
	{name: "zoho", strong: "zoho.com",
		helo: "zoho.eu zoho.in zoho.jp zoho.com.au zoho.com.cn zohocloud.ca zohomail.com " +
			"zohomail.eu zohocorp.com zeptomail.com zcsend.net",
		ptr: "transmail.net"},
	{name: "facebook", strong: "facebook.com", helo: "facebookmail.com meta.com",
		ptr: "tfbnw.net fbsv.net"},
	{name: "linkedin", strong: "linkedin.com"},
	{name: "ebay", strong: "ebay.com"},
	{name: "paypal", strong: "paypal.com"},
	{name: "amazon", helo: "amazon.com", ptr: "amazonses.com"},
	{name: "amazon-ses", helo: "amazonses.com"},
	{name: "sendgrid", helo: "sendgrid.net sendgrid.com"},
	{name: "mailgun",
		helo: "mailgun.net mailgun.org mailgun.com mailgun.us mailgun.info mailgun.co"},
	{name: "mailchimp",
		helo: "mailchimp.com mailchimpapp.net mcsv.net mcdlv.net rsgsv.net mandrillapp.com"},
	{name: "sina", helo: "sina.com sina.cn sina.com.cn vip.sina.com"},
	{name: "263", helo: "263.net", ptr: "263xmail.com"},
	{name: "139", helo: "139.com", ptr: "chinamobile.com"},
	{name: "189", helo: "189.cn", ptr: "chinatelecom.cn"},
	{name: "aliyun", helo: "aliyun.com alibaba.com"},
	{name: "arcor", helo: "arcor.de", ptr: "arcor-online.net vodafone.de vodafonemail.de"},
	{name: "orange", helo: "voila.fr orange.fr wanadoo.*"},
	{name: "sfr", helo: "club-internet.fr noos.fr sfr.fr neuf.fr", ptr: "sfr.net"},
	{name: "libero", helo: "inwind.it libero.it iol.it", ptr: "italiaonline.it"},
	{name: "virgilio", helo: "virgilio.it tin.it alice.it",
		ptr: "italiaonline.it tim.it telecomitalia.it"},
	{name: "tiscali", helo: "lineone.net tiscali.*", ptr: "talktalk.net"},
	{name: "btinternet", helo: "btinternet.com btopenworld.com",
		ptr: "cpcloud.co.uk bt.com bt.net"},
	{name: "virginmedia", helo: "virginmedia.com ntlworld.com", ptr: "virginmedia.net upcmail.net"},
	{name: "sky", helo: "sky.com", ptr: "yahoo.com"},
	{name: "verizon", helo: "gte.net verizon.net", ptr: "vzwmail.net aol.com yahoo.com"},
	{name: "att",
		helo: "prodigy.net swbell.net ameritech.net flash.net att.net sbcglobal.net " +
			"bellsouth.net pacbell.net worldnet.att.net",
		ptr: "yahoo.com"},
	{name: "earthlink", helo: "earthlink.net mindspring.com", ptr: "earthlink-vadesecure.net"},
	{name: "charter", helo: "charter.net spectrum.net", ptr: "rr.com"},
	{name: "juno", helo: "juno.com netzero.net netzero.com", ptr: "untd.com"},
	{name: "optonline", helo: "optonline.net", ptr: "optimum.net cv.net"},
	{name: "rogers", helo: "rogers.com", ptr: "yahoo.com"},
	{name: "shaw", helo: "shaw.ca", ptr: "shawcable.net"},
	{name: "sympatico", helo: "sympatico.ca", ptr: "bell.net bell.ca bellnexxia.net"},
	{name: "uol", helo: "uol.com.br bol.com.br"},
	{name: "terra", helo: "terra.com.br terra.com ig.com.br"},
	{name: "daum", helo: "daum.net hanmail.net", ptr: "kakao.com"},
	{name: "rediffmail", helo: "rediffmail.com", ptr: "rediffmailpro.com rediff.com"},
	{name: "tutanota", helo: "tutanota.com tuta.com", ptr: "tutao.de tutanota.de"},
	{name: "lycos", helo: "lycos.com angelfire.com mailcity.com tripod.com lycos.*",
		ptr: "lycos.net"},
	{name: "hotbot", helo: "hotbot.com", ptr: "lycos.com"},
	{name: "eudoramail", helo: "eudoramail.com", ptr: "lycos.com"},
	{name: "netaddress", helo: "netaddress.com", ptr: "usa.net"},
	{name: "mixmail", helo: "mixmail.com", ptr: "ya.com terra.es"},
	{name: "latinmail", helo: "latinmail.com starmedia.com"},
	{name: "o2", helo: "wp.pl o2.pl tlen.pl"},
	{name: "onet", helo: "onet.pl op.pl"},
	{name: "bigpond", helo: "bigpond.com", ptr: "telstra.com bigpond.net.au telstra.net"},
	{name: "planet", helo: "hetnet.nl xs4all.nl planet.nl zonnet.nl",
		ptr: "kpnmail.nl kpn.net versatel.net"},
	{name: "cox", helo: "cox.net", ptr: "yahoo.com"},
	{name: "rr", helo: "rr.com", ptr: "charter.net"},
	{name: "aon", helo: "aon.at", ptr: "a1.net highway.telekom.at"},
	{name: "upc", helo: "chello.at hispeed.ch", ptr: "upcmail.net"},
	{name: "ziggo", helo: "chello.nl home.nl", ptr: "as9143.net ziggo.nl"},
	{name: "telenet", helo: "telenet.be pandora.be", ptr: "telenet-ops.be"},
	{name: "proximus", helo: "skynet.be", ptr: "belgacom.be proximus.be"},
	{name: "swisscom", helo: "bluewin.ch bluemail.ch", ptr: "swisscom.com"},
	{name: "telekom", helo: "t-online.de telekom.de"},
	{name: "free", helo: "free.fr libertysurf.fr"},
	{name: "seznam", helo: "seznam.cz post.cz"},
	{name: "elisa", helo: "kolumbus.fi", ptr: "saunalahti.fi elisa.fi"},
	{name: "telia", helo: "telia.com", ptr: "skanova.net"},
	{name: "movistar", helo: "telefonica.net", ptr: "movistar.es"},
	{name: "tim", helo: "tim.it", ptr: "telecomitalia.it"},
	{name: "talktalk", helo: "talktalk.net", ptr: "cpcloud.co.uk"},
	{name: "ukr.net", helo: "ukr.net", ptr: "fwdcdn.com"},
	{name: "naver", helo: "naver.com naver.net"},
	{name: "walla", helo: "walla.co.il walla.com"},
	{name: "pobox", helo: "pobox.com", ptr: "messagingengine.com"},
	{name: "terra-es", helo: "terra.es terra.cl terra.com.mx terra.com.pe", ptr: "terra.com"},
}

// mailboxDomains are providers of one domain, as if each were the only helo domain of a row.
const mailboxDomains = `
	21cn.com 24horas.com 2die4.com 37.com abv.bg adelphia.net africamail.com altavista.com
	another.com arabia.com arnet.com.ar asiamail.com bigfoot.com bigmir.net boardermail.com
	breathe.com canada.com caramail.com catholic.org centrum.cz chez.com china.com citromail.hu
	ciudad.com.ar clix.pt comcast.net concentric.net dhl.com dubaimail.com eircom.net email.it
	epost.de erols.com excite.com fastermail.com fedex.com fibertel.com.ar firemail.de
	flashmail.com freemail.gr freemail.hu freemail.it freemail.nl freemail.ru freenet.de
	freeserve.co.uk fsnet.co.uk geocities.com globo.com go.com goo.ne.jp hanmir.com hinet.net
	home.com home.se hongkong.com hotbox.ru hotpop.com hotvoice.com hushmail.com i.ua ifrance.com
	ihug.co.nz iinet.net.au inbox.com inbox.lv india.com indiatimes.com inicia.es interia.pl iol.ie
	iol.pt iprimus.com.au iwon.com jippii.fi jubii.dk jumpy.it justmail.de korea.com kornet.net
	laposte.net luukku.com mail.bg mail.gr mail15.com mail2world.com mailandnews.com mailbox.hu
	mailexcite.com mailme.dk maktoob.com mediaone.net meta.ua mweb.co.za mynet.com myrealbox.com
	nate.com netcabo.pt netvigator.com netvision.net.il newmail.ru nextel.com.br nifty.com nm.ru
	nomade.fr ofir.dk oi.com.br onebox.com online.no operamail.com optusnet.com.au ozemail.com.au
	ozu.es pacific.net.sg paradise.net.nz passagen.se pchome.com.tw pinoymail.com planetinternet.be
	pochta.ru poczta.fm post.sk postino.it postmaster.co.uk prodigy.net.mx qudsmail.com rambler.ru
	sapo.pt seed.net.tw sify.com singnet.com.sg snet.net softhome.net sohu.com spray.se suomi24.fi
	supereva.it superonline.com telkomsa.net theglobe.com tom.com totalise.co.uk ttnet.net.tr
	uk2.net ureach.com usa.net utanet.at verizonmail.com vipmail.hu volny.cz vsnl.com vsnl.net
	webmail.co.za xoom.com xoommail.com xtra.co.nz ya.com yam.com zipmail.com.br zwallet.com
	zzn.com`
