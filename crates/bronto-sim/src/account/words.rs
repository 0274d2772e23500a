//! The vocabulary from which the account's texts are made.

/// A name in its own script, and as it stands in an address.
pub(crate) type Name = (&'static str, &'static str);

/// A language with its names and a place where it is spoken.
pub(crate) struct Locale {
    pub(crate) language: &'static str,
    pub(crate) given: &'static [Name],
    pub(crate) family: &'static [Name],
    /// City, region, postal code.
    pub(crate) cities: &'static [(&'static str, &'static str, &'static str)],
    pub(crate) country: &'static str,
    pub(crate) country_code: &'static str,
    pub(crate) calling_code: &'static str,
}

/// Locales, the commonest first.
pub(crate) const LOCALES: &[Locale] = &[
    Locale {
        language: "en",
        given: &[
            ("Grace", "grace"),
            ("Noah", "noah"),
            ("Mia", "mia"),
            ("Liam", "liam"),
            ("Zoe", "zoe"),
            ("Ethan", "ethan"),
            ("Ava", "ava"),
            ("Owen", "owen"),
        ],
        family: &[
            ("Hill", "hill"),
            ("Brooks", "brooks"),
            ("O'Neill", "oneill"),
            ("Carter", "carter"),
            ("Stone", "stone"),
            ("Wells", "wells"),
            ("St. James", "stjames"),
            ("Fox", "fox"),
        ],
        cities: &[
            ("Raleigh", "NC", "27601"),
            ("Durham", "NC", "27701"),
            ("Austin", "TX", "78701"),
            ("Portland", "OR", "97201"),
            ("Boston", "MA", "02108"),
            ("Winston-Salem", "NC", "27101"),
        ],
        country: "United States",
        country_code: "US",
        calling_code: "1",
    },
    Locale {
        language: "de",
        given: &[("Jürgen", "juergen"), ("Anke", "anke"), ("Sören", "soeren"), ("Käthe", "kaethe")],
        family: &[("Müller", "mueller"), ("Weiß", "weiss"), ("Groß", "gross"), ("Jäger", "jaeger")],
        cities: &[("Köln", "NW", "50667"), ("München", "BY", "80331"), ("Görlitz", "SN", "02826")],
        country: "Germany",
        country_code: "DE",
        calling_code: "49",
    },
    Locale {
        language: "fr",
        given: &[("Zoé", "zoe"), ("François", "francois"), ("Anaïs", "anais"), ("Loïc", "loic")],
        family: &[("Lefèvre", "lefevre"), ("D’Aubigné", "daubigne"), ("Œuvrard", "oeuvrard")],
        cities: &[("Besançon", "BFC", "25000"), ("L’Haÿ-les-Roses", "IDF", "94240")],
        country: "France",
        country_code: "FR",
        calling_code: "33",
    },
    Locale {
        language: "es",
        given: &[("Íñigo", "inigo"), ("Begoña", "begona"), ("José", "jose"), ("Lucía", "lucia")],
        family: &[("Núñez", "nunez"), ("García", "garcia"), ("Ibáñez", "ibanez")],
        cities: &[("A Coruña", "GA", "15001"), ("Málaga", "AN", "29001")],
        country: "Spain",
        country_code: "ES",
        calling_code: "34",
    },
    Locale {
        language: "ja",
        given: &[("さくら", "sakura"), ("健太", "kenta"), ("陽菜", "hina"), ("大翔", "hiroto")],
        family: &[("佐藤", "sato"), ("鈴木", "suzuki"), ("髙橋", "takahashi")],
        cities: &[("札幌市", "北海道", "060-0001"), ("京都市", "京都府", "600-8001")],
        country: "日本",
        country_code: "JP",
        calling_code: "81",
    },
    Locale {
        language: "el",
        given: &[("Ελένη", "eleni"), ("Γιώργος", "giorgos"), ("Ιωάννα", "ioanna")],
        family: &[("Παπαδοπούλου", "papadopoulou"), ("Νικολαΐδης", "nikolaidis")],
        cities: &[("Θεσσαλονίκη", "B", "546 21"), ("Ηράκλειο", "M", "712 02")],
        country: "Ελλάδα",
        country_code: "GR",
        calling_code: "30",
    },
    Locale {
        language: "pl",
        given: &[("Łukasz", "lukasz"), ("Małgorzata", "malgorzata"), ("Zbigniew", "zbigniew")],
        family: &[("Żółkiewska", "zolkiewska"), ("Dąbrowski", "dabrowski")],
        cities: &[("Łódź", "LD", "90-001"), ("Gdańsk", "PM", "80-001")],
        country: "Poland",
        country_code: "PL",
        calling_code: "48",
    },
    Locale {
        language: "ar",
        given: &[("ليلى", "layla"), ("يوسف", "yusuf"), ("مريم", "maryam")],
        family: &[("الحداد", "alhaddad"), ("بن سالم", "bensalem")],
        cities: &[("الدار البيضاء", "CAS", "20000"), ("تونس", "TUN", "1000")],
        country: "المغرب",
        country_code: "MA",
        calling_code: "212",
    },
    Locale {
        language: "hi",
        given: &[("प्रिया", "priya"), ("अर्जुन", "arjun")],
        family: &[("शर्मा", "sharma"), ("चौधरी", "chaudhary")],
        cities: &[("पुणे", "MH", "411001")],
        country: "भारत",
        country_code: "IN",
        calling_code: "91",
    },
    Locale {
        language: "uk",
        given: &[("Олена", "olena"), ("Тарас", "taras")],
        family: &[("Шевчук", "shevchuk"), ("Їжакевич", "yizhakevych")],
        cities: &[("Львів", "46", "79000")],
        country: "Україна",
        country_code: "UA",
        calling_code: "380",
    },
];

pub(crate) const DOMAINS: &[&str] = &[
    "example.com",
    "mail.example",
    "example.net",
    "example.org",
    "post.example",
    "xn--bcher-kva.example",
];

pub(crate) const CUSTOM_SOURCES: &[&str] = &[
    "Checkout & newsletter",
    "Store till 7",
    "",
    "Facebook <lead ad>",
    "Trade fair \"Spring\" 2024",
    "Empfehlung",
    "イベント",
    "Partner; import, batch=3",
    "QR 'window' code",
];

pub(crate) const CONTACT_STATUSES: &[&str] = &[
    "active",
    "active",
    "active",
    "onboarding",
    "unsub",
    "transactional",
    "bounce",
    "unconfirmed",
];

pub(crate) const SOURCES: &[&str] = &["webform", "import", "api", "manual", "sforcereport"];

pub(crate) const BROWSERS: &[&str] =
    &["Chrome", "Firefox", "Safari", "Edge", "Internet Explorer 11"];
pub(crate) const MOBILE_BROWSERS: &[&str] = &["Safari mobile", "Chrome Mobile", "Samsung Internet"];
pub(crate) const EMAIL_CLIENTS: &[&str] =
    &["Gmail", "Apple Mail", "Outlook 2016", "Yahoo! Mail", "Thunderbird", "AT&T Mail"];
pub(crate) const MOBILE_CLIENTS: &[&str] = &["iPhone", "Android", "iPad", "Gmail app"];
pub(crate) const SYSTEMS: &[&str] = &["Windows 10", "MacOSX", "iOS", "Android", "Linux"];

pub(crate) const LIST_NAMES: &[(&str, &str)] = &[
    ("newsletter_weekly", "Weekly newsletter"),
    ("customers", "Customers & friends"),
    ("vip", ""),
    ("sale_alerts", "Sale alerts – up to 70 % off"),
    ("neuheiten_de", "Neuheiten für Dich"),
    ("nouveautes_fr", "Les nouveautés d’été"),
    ("jp_mail_magazine", "メールマガジン"),
    ("gr_prosfores", "Προσφορές"),
    ("abandoned_cart", "Abandoned cart"),
    ("loyalty", "Loyalty <gold>"),
    ("store_openings", "Store openings"),
    ("surveys", "Surveys"),
];

pub(crate) const SEGMENTS: &[&str] = &[
    "Recent buyers",
    "Lapsed > 90 days",
    "Openers & clickers",
    "VIP",
    "Birthday this month",
    "Καλοκαίρι",
    "Never purchased",
    "High value",
];

pub(crate) const KEYWORDS: &[&str] = &["SALE", "JOIN", "STOP", "WIN", "ÉTÉ"];

pub(crate) const WORKFLOWS: &[&str] =
    &["Welcome series", "Abandoned cart: 3 steps", "Birthday", "Post-purchase & review"];

pub(crate) const WEBFORMS: &[(&str, &str)] = &[
    ("Sign up", "newContact"),
    ("Manage preferences", "managePreferences"),
    ("Gewinnspiel", "newContact"),
];

pub(crate) const MESSAGES: &[&str] = &[
    "Spring preview",
    "Black Friday: 50% off & more",
    "Order confirmation",
    "Welcome!",
    "Last chance ⏰",
    "Herbst-Kollektion",
    "Soldes d’été",
    "夏のセール",
    "Your cart misses you",
    "Review <your> purchase",
    "Χειμερινές προσφορές",
    "Weekly digest",
    "Back in stock",
    "Happy birthday 🎂",
];

pub(crate) const BOUNCE_TYPES: &[&str] = &[
    "temporary_contact_issue",
    "bad_email",
    "destination_temporarily_unavailable",
    "destination_unreachable",
    "deferred_message_content",
    "rejected_message_content",
    "unclassified",
];

pub(crate) const BOUNCE_REASONS: &[&str] = &[
    "552 5.2.2 Mailbox full",
    "550 5.1.1 <user unknown>: Recipient address rejected",
    "421 4.7.0 [TS01] Messages temporarily deferred due to user complaints\r\n421 4.16.55.1",
    "smtp; 554 5.7.1 Service unavailable; Client host [192.0.2.25] blocked",
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
    "Delivery expired (message too old)\tafter 72h",
];

pub(crate) const SKIP_REASONS: &[&str] =
    &["content_rule", "frequency_cap", "suppressed", "no_content"];

pub(crate) const LINK_NAMES: &[&str] =
    &["hero", "footer", "Shop now", "product grid", "Más & más", "jetzt kaufen"];

pub(crate) const LINK_PATHS: &[&str] = &[
    "spring",
    "stores",
    "sale/shoes",
    "p/4711-linen-shirt",
    "account/preferences",
    "größen-tabelle",
    "商品/夏",
];

pub(crate) const UNSUBSCRIBE_METHODS: &[&str] = &[
    "subscriber",
    "fbl",
    "bulk",
    "admin",
    "listcleaning",
    "complaint",
    "api",
    "account",
    "unclassified",
];

pub(crate) const COMPLAINTS: &[&str] = &[
    "Too many messages",
    "Never signed up",
    "zu viele E-Mails & kein Interesse",
    "",
    "Content <not> relevant\nto me",
    "もう興味がありません",
    "“Spam”",
    "Ça suffit !",
];

pub(crate) const SOCIAL_NETWORKS: &[&str] = &["facebook", "twitter", "linkedin", "digg", "myspace"];

/// The custom fields of contacts: name, label, type.
pub(crate) const FIELDS: &[(&str, &str, &str)] = &[
    ("firstname", "First name", "text"),
    ("lastname", "Last name", "text"),
    ("birthday", "Birthday", "date"),
    ("loyalty_points", "Loyalty points", "integer"),
    ("preferred_store", "Preferred store", "select"),
    ("notes", "Notes <internal>", "textarea"),
    ("opt_in", "Opted in & confirmed", "checkbox"),
    ("salutation", "Anrede", "radio"),
    ("store_credit", "Store credit", "currency"),
    ("affinity", "Affinity score", "float"),
    ("language", "Language", "select"),
    ("legacy_id", "", "text"),
];

pub(crate) const NOTES: &[&str] = &[
    "Called about order; wants <b>express</b> & gift wrap",
    "line one\nline two\n\n\tindented",
    "🛒👟 sneakers",
    "naïve café – 20 € voucher",
    "",
    " leading and trailing ",
    "{\"json\": [1, 2, null]}",
    "'; drop table contact; --",
    "\"quoted\", comma; semicolon",
    "עברית ועוד",
    "NULL",
    "\\N",
];

pub(crate) const STORES: &[&str] = &["Downtown", "Köln Süd", "Besançon", "Σύνταγμα", "新宿"];
