-- The tables of the extension. Tables that a dump must carry are marked with pg_extension_config_dump; the stage and
-- the tokens are not. None has a foreign key: see dependents.sql.

CREATE TABLE sis (
    sis text NOT NULL PRIMARY KEY,
    title text NOT NULL,
    api_version text NOT NULL DEFAULT '1.1' CHECK (api_version IN ('1.1', '1.2')),
    auth text NOT NULL DEFAULT 'oauth2' CHECK (auth IN ('oauth2', 'oauth1_sha256', 'oauth1_sha1', 'bearer')),
    base_paths text[] NOT NULL CHECK (cardinality(base_paths) > 0),
    token_path text,
    scope text,
    collections jsonb NOT NULL CHECK (jsonb_typeof(collections) = 'array'),
    page_size integer NOT NULL DEFAULT 1000 CHECK (page_size BETWEEN 1 AND 50000),
    max_requests integer NOT NULL DEFAULT 1 CHECK (max_requests BETWEEN 1 AND 16),
    source text,
    builtin boolean NOT NULL DEFAULT false,
    page_size_limit integer NOT NULL DEFAULT 50000 CHECK (page_size_limit BETWEEN 1 AND 50000),
    max_requests_limit integer NOT NULL DEFAULT 16 CHECK (max_requests_limit BETWEEN 1 AND 16),
    campus_metadata boolean NOT NULL DEFAULT false,
    object_collections jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(object_collections) = 'array')
);
COMMENT ON TABLE sis IS
'Presets: what is known about a student information system. To add a product, add a row here and rows in role_rules.';
COMMENT ON COLUMN sis.api_version IS
'The OneRoster version of the paths. The format of the objects is detected from the objects themselves.';
COMMENT ON COLUMN sis.auth IS
'How requests are authorized where the connection does not say: oauth2 (client credentials, for a token that expires), '
'oauth1_sha256 and oauth1_sha1 (each request signed with HMAC), bearer (the client secret is the token).';
COMMENT ON COLUMN sis.base_paths IS
'Path templates of the OneRoster root, the current one first. {app} stands for one segment (the App Name), {prefix} '
'for any number of leading segments.';
COMMENT ON COLUMN sis.token_path IS
'Path template of the token endpoint on the same host, including the query; {prefix} is that of the base path. NULL if '
'there is none or token_url must be given.';
COMMENT ON COLUMN sis.scope IS 'OAuth 2.0 scope to request if the connection names none; NULL sends none.';
COMMENT ON COLUMN sis.source IS 'Where this information was found, and which of it could not be confirmed.';
COMMENT ON COLUMN sis.collections IS
'What is read, in this order: an array of {"collection": name, "family": "student"|"staff"|"contact", "categories": '
'[category, …], "path": path below the root with {school} for the School ID, "fallback": a path or an array of paths, '
'each used if the one before it does not exist or is denied (401 does not count), "roles": roles kept from a path '
'without {school}}. A row without a role from a path with {school} of one category gets that category''s first role.';
COMMENT ON COLUMN sis.object_collections IS
'What is read besides people, as in collections, with the families session, course, class, enrollment and '
'demographics. "instead_of": another of these collections; the entry is read only if that one does not exist or '
'is denied.';
COMMENT ON COLUMN sis.page_size_limit IS
'The largest page that the product serves; the upper limit for a connection''s page_size.';
COMMENT ON COLUMN sis.campus_metadata IS
'Whether users are requested with metadata. Only the legacy ID and the relationships of Infinite Campus are used.';
COMMENT ON COLUMN sis.max_requests_limit IS 'The largest number of concurrent requests that the vendor allows.';

CREATE TABLE role_rules (
    sis text NOT NULL,
    roster_role text NOT NULL CHECK (roster_role = lower(roster_role)),
    category text NOT NULL CHECK (category IN ('student', 'teacher', 'staff', 'admin', 'contact')),
    role text CHECK ((role IS NULL) = (category = 'contact')) CHECK (role <> 'other'),
    rank integer NOT NULL,
    builtin boolean NOT NULL DEFAULT false,
    PRIMARY KEY (sis, roster_role)
);
COMMENT ON TABLE role_rules IS
'What a OneRoster role means here: its category, the role written to the people relation, and its rank within its '
'family (1 is the highest). Category contact: guardians, who are columns of a student and have no accounts. A role '
'without a row is ignored; its people count as present.';

CREATE TABLE people_relations (
    relation regclass NOT NULL PRIMARY KEY,
    columns jsonb NOT NULL CHECK (jsonb_typeof(columns) = 'object'),
    roles jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(roles) = 'object'),
    archive_words jsonb NOT NULL DEFAULT '{}' CHECK (archive_words = '{}'
        OR archive_words ?& ARRAY['active', 'archived'])
);
COMMENT ON TABLE people_relations IS 'Attached people relations with their column maps.';
COMMENT ON COLUMN people_relations.columns IS
'The resolved map: for each contract column that the relation has, its name there.';
COMMENT ON COLUMN people_relations.roles IS
'The deployment''s words for roles, {"student": ["STUDENT", "STUDENT_LEADER"], "other": ["PARENT"]}: the first word of '
'a list is written, words of other never. A role that is not named here is its own word.';
COMMENT ON COLUMN people_relations.archive_words IS
'The status of active and of archived people, {"active": "ACTIVE", "archived": "ARCHIVED"}, if archived_at is mapped '
'to a status column; {} if it is a timestamp.';

CREATE TABLE connections (
    connection text NOT NULL PRIMARY KEY CHECK (octet_length(connection) BETWEEN 1 AND 63 AND connection NOT IN ('smtp',
        'forgotten')),
    site text NOT NULL CHECK (site <> ''),
    district text,
    sis text NOT NULL,
    base_url text NOT NULL,
    token_url text,
    auth text NOT NULL CHECK (auth IN ('oauth2', 'oauth1_sha256', 'oauth1_sha1', 'bearer')),
    client_id text,
    app_name text,
    school_id text NOT NULL,
    people regclass NOT NULL,
    time_zone text NOT NULL,
    sync_at time NOT NULL DEFAULT '19:00',
    window_end time NOT NULL DEFAULT '06:00' CHECK (window_end <> sync_at),
    automatic boolean NOT NULL DEFAULT false,
    paused_cause text CHECK (paused_cause IN ('restored', 'run_undone', 'evenings_failed')),
    paused_reason text,
    parent_contact boolean NOT NULL DEFAULT false,
    guard_percent integer NOT NULL DEFAULT 10 CHECK (guard_percent BETWEEN 0 AND 100),
    guard_floor integer NOT NULL DEFAULT 5 CHECK (guard_floor >= 0),
    page_size integer CHECK (page_size BETWEEN 1 AND 50000),
    max_requests integer CHECK (max_requests BETWEEN 1 AND 16),
    credentials_expire date,
    unproven boolean NOT NULL DEFAULT true,
    unproven_since timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz,
    enabled_at timestamptz,
    enabled_origin text,
    number integer GENERATED BY DEFAULT AS IDENTITY UNIQUE,
    guard_grace integer NOT NULL DEFAULT 1 CHECK (guard_grace BETWEEN 1 AND 30),
    season_dates daterange CHECK (NOT (isempty(season_dates) OR lower_inf(season_dates) OR upper_inf(season_dates))),
    season_percent integer NOT NULL DEFAULT 60 CHECK (season_percent BETWEEN 0 AND 99),
    freeze_dates daterange CHECK (NOT (isempty(freeze_dates) OR lower_inf(freeze_dates) OR upper_inf(freeze_dates))),
    delta boolean NOT NULL DEFAULT false,
    full_every integer NOT NULL DEFAULT 7 CHECK (full_every BETWEEN 1 AND 30),
    newest_modified timestamptz,
    full_read_on date,
    filter_unusable boolean NOT NULL DEFAULT false,
    scope text,
    clear_parent_contact boolean NOT NULL DEFAULT false,
    guard_update_percent integer NOT NULL DEFAULT 75 CHECK (guard_update_percent BETWEEN 0 AND 100),
    school_name text,
    classes boolean NOT NULL DEFAULT false,
    contacts boolean NOT NULL DEFAULT false,
    birth_dates boolean NOT NULL DEFAULT false,
    class_terms text[] NOT NULL DEFAULT '{current}' CHECK (class_terms <> '{}'),
    class_grades text[],
    CHECK (parent_contact OR NOT clear_parent_contact),
    CHECK ((token_url IS NOT NULL) = (auth = 'oauth2')),
    CHECK (client_id IS NOT NULL OR auth = 'bearer')
);
CREATE INDEX connections_site ON connections (site, retired_at DESC NULLS FIRST, number DESC);
COMMENT ON TABLE connections IS 'How one site reaches one SIS. Written through roster_connect and roster_configure.';
COMMENT ON COLUMN connections.token_url IS 'Where tokens come from, on any host; NULL if auth needs none.';
COMMENT ON COLUMN connections.client_id IS 'NULL only if the client secret is the token (auth bearer).';
COMMENT ON COLUMN connections.scope IS 'OAuth 2.0 scope to request: NULL uses the preset''s, empty sends none.';
COMMENT ON COLUMN connections.clear_parent_contact IS
'Clears a contact that a roster wrote when the SIS no longer names one for the student. Requires parent_contact.';
COMMENT ON COLUMN connections.school_name IS
'The name of the school in the SIS, as of the latest fetch; NULL if unknown.';
COMMENT ON COLUMN connections.paused_cause IS 'Why Automatic Rostering is paused, as a code; NULL where it is not.';
COMMENT ON COLUMN connections.paused_reason IS 'The same in words.';
COMMENT ON COLUMN connections.page_size IS 'Rows requested per page; NULL uses the preset''s number.';
COMMENT ON COLUMN connections.max_requests IS 'Concurrent requests; NULL uses the preset''s number.';
COMMENT ON COLUMN connections.unproven IS
'No full sync has shown yet that address, SIS and school are right, so archives are held.';
COMMENT ON COLUMN connections.retired_at IS
'When roster_disconnect retired it. Functions no longer know a retired connection, and its links are dead.';
COMMENT ON COLUMN connections.enabled_origin IS
'server_origin() at roster_enable; any other value here means a restored copy, which is paused.';
COMMENT ON COLUMN connections.guard_grace IS
'How many complete full reads must miss a person before the person is archived.';
COMMENT ON COLUMN connections.guard_update_percent IS
'Updates are held if they would change one column for more than this percentage of a category of 20 or more; 100 holds '
'none.';
COMMENT ON COLUMN connections.season_dates IS
'Dates, local to time_zone, on which season_percent replaces guard_percent and the rule of half: the rollover of a '
'school year. NULL for none.';
COMMENT ON COLUMN connections.freeze_dates IS
'Dates, local to time_zone, on which all archives are held: the summer. NULL for none.';
COMMENT ON COLUMN connections.classes IS
'Academic sessions, courses, classes and enrollments are rostered, and the history of what the SIS says is kept.';
COMMENT ON COLUMN connections.contacts IS 'All contacts of students are rostered. Requires parent_contact to be read.';
COMMENT ON COLUMN connections.birth_dates IS 'Birth dates are read from demographics and written to people.';
COMMENT ON COLUMN connections.class_terms IS
'Of which academic sessions classes are rostered: {current} by date, {all}, or their sourcedIds or titles.';
COMMENT ON COLUMN connections.class_grades IS
'Of which grades classes are rostered; NULL for all. A class without grades is of all.';
COMMENT ON COLUMN connections.number IS
'Used in the names of the stage partitions and in the advisory lock of the connection.';
COMMENT ON COLUMN connections.delta IS 'Evenings between full reads request only changed students and contacts.';
COMMENT ON COLUMN connections.full_every IS 'With delta: the roster is read in full every this many evenings.';
COMMENT ON COLUMN connections.newest_modified IS
'With delta: the newest dateLastModified from the SIS; NULL or -infinity if the next evening reads in full, after '
'changed settings or a sync that did not end well.';
COMMENT ON COLUMN connections.full_read_on IS 'With delta: the evening, or local date, of the last full sync.';
COMMENT ON COLUMN connections.filter_unusable IS
'With delta: the SIS ignored or rejected the filter on dateLastModified, so every evening reads in full; '
'roster_configure(delta => true) tries it again.';

CREATE TABLE toggles (
    connection text NOT NULL,
    category text NOT NULL CHECK (category IN ('student', 'teacher', 'staff', 'admin')),
    roster boolean NOT NULL DEFAULT true,
    auto_update boolean NOT NULL DEFAULT false,
    archive boolean NOT NULL DEFAULT false,
    PRIMARY KEY (connection, category)
);
COMMENT ON TABLE toggles IS
'For each category: whether it is rostered, whether existing people are updated, and whether absent people are '
'archived.';

CREATE TABLE secrets (
    connection text NOT NULL PRIMARY KEY,
    binding uuid NOT NULL,
    sealed bytea NOT NULL
);
COMMENT ON TABLE secrets IS
'Client secrets, the SMTP password under the name "smtp", and under "forgotten" the key by which forgotten people are '
'known again: AES-256-GCM, sealed with the key of minga_roster.key_file and bound to "binding".';

CREATE TABLE tokens (
    connection text NOT NULL PRIMARY KEY,
    binding uuid NOT NULL,
    sealed bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    sent_as text NOT NULL DEFAULT 'basic' CHECK (sent_as IN ('basic', 'body', 'encoded basic'))
);
COMMENT ON TABLE tokens IS 'OAuth tokens until they expire, sealed like secrets. Never dumped.';
COMMENT ON COLUMN tokens.sent_as IS
'How the credentials were sent for it, which is tried first the next time: with HTTP Basic as they are, in the form '
'body, or with HTTP Basic form-encoded.';

CREATE TABLE key_pairs (
    only_one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_one),
    binding uuid NOT NULL,
    public_key text NOT NULL,
    sealed bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE key_pairs IS
'The key pair with which clients seal secrets for this server: one row, made by the first roster_public_key(). The '
'private key is sealed like secrets, for this row and this public key.';

CREATE TABLE server_facts (
    connection text NOT NULL,
    fact text NOT NULL CHECK (fact IN ('fields', 'limit', 'order', 'overlap', 'paging', 'sort')),
    value text NOT NULL,
    learned_run bigint NOT NULL,
    learned_at timestamptz NOT NULL,
    PRIMARY KEY (connection, fact)
);
COMMENT ON TABLE server_facts IS
'How the SIS of a connection deviates from OneRoster where that changes the requests. Each fact is tried again '
'after a week, and forgotten with another url, token_url or sis.';
COMMENT ON COLUMN server_facts.fact IS
'fields, sort: rejected, so requests omit them. limit: the largest page served, if a larger one is rejected instead of '
'truncated. overlap: a page from an offset inside the list is rejected or empty. order: orderBy=desc is rejected or '
'ignored. paging: all at once, limit as end, or offset as page.';

CREATE TABLE runs (
    run bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    connection text NOT NULL,
    site text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('test', 'diagnose', 'fetch', 'preview', 'sync', 'approve', 'apply', 'undo',
        'mail')),
    trigger text NOT NULL CHECK (trigger IN ('manual', 'evening')),
    evening date CHECK ((evening IS NOT NULL) = (trigger = 'evening')),
    of_run bigint,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'canceled')),
    state_cause text CHECK (state_cause IN ('evening_missed', 'time_zone_lost')),
    phase text CHECK (phase IN ('fetch', 'plan', 'apply', 'report')),
    requested_by name NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    pages integer NOT NULL DEFAULT 0,
    rows_staged bigint NOT NULL DEFAULT 0,
    rows_expected bigint,
    requests integer NOT NULL DEFAULT 0,
    retries integer NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    is_full boolean,
    created integer,
    linked integer,
    updated integer,
    restored integer,
    archived integer,
    held integer,
    unchanged integer,
    skipped integer,
    conflicts integer,
    rejects integer,
    sqlstate text,
    error text,
    detail text,
    hint text,
    pid integer,
    reported boolean NOT NULL DEFAULT false,
    modified_since timestamptz,
    incomplete boolean NOT NULL DEFAULT false,
    reduced_roles text[],
    district text,
    CHECK ((finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'canceled')))
);
CREATE UNIQUE INDEX runs_evening ON runs (connection, evening, site) WHERE state <> 'failed';
CREATE UNIQUE INDEX runs_queued ON runs (connection, kind, (coalesce(of_run, 0))) WHERE state = 'queued'
    AND trigger = 'manual';
CREATE INDEX runs_evening_failed ON runs (connection, evening) WHERE state = 'failed' AND evening IS NOT NULL;
CREATE INDEX runs_connection ON runs (connection, run);
CREATE INDEX runs_open ON runs (run) WHERE state IN ('queued', 'running');
CREATE INDEX runs_queued_at ON runs (queued_at);
COMMENT ON TABLE runs IS
'One row for each run, written by the worker in its own transactions, so that a failed run is recorded.';
COMMENT ON COLUMN runs.of_run IS
'The run that an approve, apply or undo is about. Retention may delete that run.';
COMMENT ON COLUMN runs.state_cause IS
'evening_missed: the evening ended before a sync of it began. time_zone_lost: the server no longer knew the time zone '
'of the connection. NULL: sqlstate tells why the run ended as it did.';
COMMENT ON COLUMN runs.pid IS 'Process of the worker while the run is running.';
COMMENT ON COLUMN runs.reported IS 'Whether the mail was written, or was not needed.';
COMMENT ON COLUMN runs.is_full IS
'The full roster was read: true once it is fetched. false: a delta, which lists only changed students and contacts, '
'and archives no one.';
COMMENT ON COLUMN runs.incomplete IS
'A list was not proved complete: rows may be missing, so no one of its family is archived. collections says which list '
'and why.';
COMMENT ON COLUMN runs.reduced_roles IS
'Roles of which the fetch staged keys alone, because their category was not rostered when it began. The plan takes '
'that category as not rostered, even if it is by then. NULL: there are none.';
COMMENT ON COLUMN runs.modified_since IS
'What a delta requested: rows with a later dateLastModified. If is_full is true as well, the SIS ignored that, and '
'everything was read.';
COMMENT ON COLUMN runs.district IS 'The district of the site when the run was requested.';
COMMENT ON COLUMN runs.skipped IS 'Staged users with the outcome skip.';

CREATE TABLE run_counts (
    run bigint NOT NULL,
    category text NOT NULL,
    action text NOT NULL,
    count integer NOT NULL,
    PRIMARY KEY (run, category, action)
);
COMMENT ON TABLE run_counts IS
'For each run and category: the outcomes of its staged users (create, link, update, restore, unchanged, skip, '
'conflict, reject, protect, merged, contact, ignore, forgotten); a conflict counts once, its further rows as merged. '
'Also archive, held (archives, updates and creates), and refused archive (by the people relation); for an undo what '
'was done to people, and kept. Rows whose role has no rule are in category "none", guardians in "contact".';

CREATE TABLE run_steps (
    run bigint NOT NULL,
    position integer NOT NULL,
    step text NOT NULL,
    ok boolean,
    detail text,
    hint text,
    elapsed interval,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE run_steps IS
'The results of a connection test, step by step; ok is NULL for steps that were not reached.';

CREATE TABLE findings (
    run bigint NOT NULL,
    position integer NOT NULL,
    finding text NOT NULL,
    value text NOT NULL,
    ok boolean,
    detail text,
    hint text,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE findings IS
'What a diagnosis found out about a SIS and its rows. Holds numbers and names of schools, and no personal data.';
COMMENT ON COLUMN findings.ok IS 'Whether this is as OneRoster specifies; NULL for information.';

CREATE TABLE collections (
    run bigint NOT NULL,
    collection text NOT NULL,
    family text NOT NULL CHECK (family IN ('student', 'staff', 'contact', 'session', 'course', 'class', 'enrollment',
        'demographics')),
    complete boolean NOT NULL DEFAULT false,
    proof text CHECK (proof IN ('total', 'empty page', 'weak')),
    pages integer NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    distinct_ids bigint NOT NULL DEFAULT 0,
    claimed_total bigint,
    without_id bigint NOT NULL DEFAULT 0,
    elsewhere bigint NOT NULL DEFAULT 0,
    roles_ended bigint NOT NULL DEFAULT 0,
    without_role bigint NOT NULL DEFAULT 0,
    fallback boolean NOT NULL DEFAULT false,
    detail text,
    weak_cause text CHECK (weak_cause IN ('denied', 'row_missing', 'total_larger', 'total_unfiltered',
        'total_smaller', 'moved', 'unchecked', 'limit_as_end',
        'offset_as_page', 'not_paged', 'end_refused', 'end_object', 'end_repeated', 'end_unproved', 'without_id',
        'nowhere', 'broken_off')),
    PRIMARY KEY (run, collection)
);
COMMENT ON TABLE collections IS
'For each collection of a run, the evidence that it was read completely. Archives of a family depend on it.';
COMMENT ON COLUMN collections.complete IS
'Read to a proved end; false if the end was weak, the endpoint answered 403 or 404, or a row had no sourcedId.';
COMMENT ON COLUMN collections.weak_cause IS
'Why the collection is not complete; NULL if it is. Rows are known to be missing: row_missing (the end of the list has '
'a row that the pages did not have), total_larger (more rows are claimed than listed). Rows may be missing: denied, '
'total_unfiltered (the claimed total is that of the unfiltered list), total_smaller, moved (the list moved during the '
'read), unchecked (whether it moved could not be checked), limit_as_end (limit is used as the end offset), '
'offset_as_page (offset is used as a page number), not_paged (all rows came for every request), end_refused, '
'end_object ({} or null) and end_repeated (rows came again) instead of an empty page, end_unproved (an empty page that '
'proves nothing), without_id (rows without a sourcedId), nowhere (rows without a school in a list that is not the '
'school''s own).';
COMMENT ON COLUMN collections.without_id IS 'Rows without a sourcedId: rejected, not staged.';
COMMENT ON COLUMN collections.elsewhere IS
'Rows of another school or, from a fallback, of other roles, and rows whose roles have all ended: not staged.';
COMMENT ON COLUMN collections.roles_ended IS 'Of these, rows whose roles have all ended.';
COMMENT ON COLUMN collections.without_role IS
'Rows without a role that got the role of their list: the school''s own, of one category.';

CREATE TABLE run_figures (
    run bigint NOT NULL,
    category text NOT NULL,
    people bigint NOT NULL,
    inactive bigint NOT NULL,
    filled jsonb NOT NULL,
    PRIMARY KEY (run, category)
);
COMMENT ON TABLE run_figures IS
'For each full sync and preview, by rostered category, how many rows were listed, for the next one to compare with.';
COMMENT ON COLUMN run_figures.inactive IS 'Rows with status inactive or enabledUser false.';
COMMENT ON COLUMN run_figures.filled IS 'For each field, how many rows have a value.';

CREATE TABLE run_findings (
    run bigint NOT NULL,
    position integer NOT NULL,
    finding text NOT NULL CHECK (finding IN ('inactive_some', 'inactive_all', 'category_empty', 'field_vanished',
        'roles_ended', 'no_role',
        'unknown_role', 'without_id', 'incomplete', 'mass_update_held', 'no_class_chosen',
        'classes_not_applied', 'objects_empty', 'enrollment_role', 'objects_unreadable')),
    category text,
    amount bigint NOT NULL,
    "of" bigint,
    detail jsonb NOT NULL DEFAULT '{}',
    needs_look boolean NOT NULL,
    PRIMARY KEY (run, position)
);
COMMENT ON TABLE run_findings IS
'What a sync or preview noticed in the roster, as codes and numbers; finding_text makes the sentences. Holds no '
'personal data.';
COMMENT ON COLUMN run_findings.amount IS 'How many out of "of".';
COMMENT ON COLUMN run_findings.detail IS
'subject: the list, field, column or role concerned; for an incomplete list also its weak_cause, as cause.';
COMMENT ON COLUMN run_findings.needs_look IS
'Needs a look. A lasting finding needs one only in the run that found it first.';

CREATE TABLE changes (
    run bigint NOT NULL,
    change integer NOT NULL,
    site text NOT NULL,
    category text,
    person_id text,
    sourced_ids text[] NOT NULL,
    action text NOT NULL CHECK (action IN ('create', 'link', 'update', 'restore', 'archive', 'conflict', 'reject',
        'protect')),
    rule text NOT NULL,
    reason text NOT NULL,
    before jsonb NOT NULL DEFAULT '{}',
    after jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL CHECK (state IN ('planned', 'applied', 'refused', 'held', 'expired', 'undone', 'kept',
        'noted')),
    state_at timestamptz NOT NULL,
    state_reason text,
    state_cause text,
    seen bigint,
    done_by bigint,
    conflict text CHECK (conflict IS NULL OR action = 'conflict'),
    same_name text[],
    stored jsonb,
    PRIMARY KEY (run, change)
);
CREATE INDEX changes_person ON changes (site, person_id);
CREATE INDEX changes_held ON changes (run) WHERE state = 'held';
COMMENT ON TABLE changes IS 'The plan: each intended change of a run, and what was not done and why.';
COMMENT ON COLUMN changes.sourced_ids IS
'The roster rows of the person. Empty once the person''s data was erased, by roster_forget or after '
'minga_roster.keep_archived; then before and after are empty too, and the change cannot be undone.';
COMMENT ON COLUMN changes.before IS 'Old values of the written columns.';
COMMENT ON COLUMN changes.after IS 'New values of the written columns.';
COMMENT ON COLUMN changes.state_reason IS
'Why a change is refused, held, expired or kept, or how it was carried out later, as a sentence.';
COMMENT ON COLUMN changes.state_cause IS
'The same as a code, which logic goes by. Held: unproven, frozen, season_percent, half, percent (archives), '
    'mass_update (updates), ids_changed (links and creates), new_site (creates). Carried out later: approved, '
    'relinked. Expired: superseded (a later run judged), run_undone. Undone: undone. Not taken by the people '
    'relation: refused_by_people, not_stored, kept_by_people. Refused: erased (by roster_forget). NULL where nothing '
    'goes by it.';
COMMENT ON COLUMN changes.seen IS
'A hash of the person as the run that carried out the change left them; its undo must find them so. Until then, in a '
'preview, a hash of the person as the plan saw them, or for a create of the people with the same identifier or email '
'address; its apply must find them so.';
COMMENT ON COLUMN changes.conflict IS
'Why a conflict is one: other_family, row_joins_two, same_role_twice, keys_contradict, rows_differ, '
    'several_candidates, two_people_by_keys, names_differ, identifiers_differ, address_of_two, address_shared, '
    'family_unknown, candidate_linked, several_rows, identifier_withheld or not_unique; NULL for any other action.';
COMMENT ON COLUMN changes.same_name IS
'For a create: active people with the same name and family of roles who have neither an identifier nor an email '
'address.';
COMMENT ON COLUMN changes.stored IS
'Written values that the people relation stores in another form, as it stores them; NULL if there are none.';
COMMENT ON COLUMN changes.done_by IS
'The run that carried out the change: the sync itself, the apply of a preview, or the approval of a held change.';

CREATE TABLE links (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    person_id text NOT NULL,
    category text NOT NULL CHECK (category IN ('student', 'teacher', 'staff', 'admin')),
    role_written text,
    rule text NOT NULL,
    linked_run bigint NOT NULL,
    missed_since timestamptz,
    archived_run bigint,
    missed_run bigint,
    PRIMARY KEY (connection, sourced_id)
);
CREATE INDEX links_person ON links (site, person_id);
CREATE INDEX links_archived ON links (archived_run) WHERE archived_run IS NOT NULL;
COMMENT ON TABLE links IS 'Which person each SIS row is. Presence is not recorded; absence is recorded once.';
COMMENT ON COLUMN links.category IS
'Category of the row with this sourcedId; a person''s category is the best rank among the rows seen last.';
COMMENT ON COLUMN links.role_written IS
'The role that this connection wrote to the person; NULL if it linked the person and never wrote a role.';
COMMENT ON COLUMN links.missed_since IS 'When a full read first did not list the ID; NULL while it is listed.';
COMMENT ON COLUMN links.missed_run IS 'The run in which the ID was first absent; NULL while it is listed.';
COMMENT ON COLUMN links.archived_run IS 'The run that archived the person, while the person is archived by it.';

CREATE TABLE conflict_candidates (
    run bigint NOT NULL,
    change integer NOT NULL,
    person_id text NOT NULL,
    found_by text NOT NULL CHECK (found_by IN ('link', 'row', 'former id', 'identifier', 'e-mail', 'unique index')),
    PRIMARY KEY (run, change, person_id, found_by)
);
COMMENT ON TABLE conflict_candidates IS 'For each conflict of a plan, who could be meant and what points to them.';

CREATE TABLE conflict_pairs (
    run bigint NOT NULL,
    change integer NOT NULL,
    pair integer NOT NULL,
    sourced_id text NOT NULL,
    given_name text,
    family_name text,
    identifier text,
    email text,
    username text,
    role text,
    person_id text,
    found_by text,
    person_given_name text,
    person_family_name text,
    person_identifier text,
    person_email text,
    person_username text,
    person_role text,
    person_archived boolean,
    agrees text[],
    differs text[],
    PRIMARY KEY (run, change, pair)
);
COMMENT ON TABLE conflict_pairs IS
'The conflicts of a connection''s latest plan as roster_conflicts shows them: each roster row with each person it '
'could be, as the plan saw them. The connection''s next plan removes them.';
COMMENT ON COLUMN conflict_pairs.agrees IS
'Fields in which the row and the person agree, out of given_name, family_name, identifier, email and username. A field '
'that is empty on either side is neither here nor in differs.';

CREATE TABLE match_decisions (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    person_id text,
    decision text NOT NULL CHECK (CASE decision WHEN 'never the same' THEN person_id IS NOT NULL
        WHEN 'new person' THEN person_id IS NULL
        WHEN 'skip' THEN person_id IS NULL ELSE false END),
    decided_by name NOT NULL,
    decided_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX match_decisions_row ON match_decisions (connection, sourced_id, (coalesce(person_id, '')));
-- Required by a publication of all tables.
ALTER TABLE match_decisions REPLICA IDENTITY FULL;
COMMENT ON TABLE match_decisions IS
'What roster_decide remembers about a roster row: who it is not, or that it is skipped. That a row is a person is '
'stored in links.';
COMMENT ON COLUMN match_decisions.person_id IS
'The person that the row is not; NULL: the decision is about the row alone.';
COMMENT ON COLUMN match_decisions.decision IS
'never the same: the row is not this person; new person: it is no one at the site; skip: it is ignored.';

CREATE TABLE column_owners (
    connection text NOT NULL,
    column_name text NOT NULL,
    owner text NOT NULL CHECK (owner IN ('local', 'sis unless edited')),
    PRIMARY KEY (connection, column_name)
);
COMMENT ON TABLE column_owners IS
'Columns of people that Auto update does not, or not always, take from the SIS; those without a row are the SIS''s. '
'Written through roster_set_column_owner.';

CREATE TABLE column_paths (
    connection text NOT NULL,
    column_name text NOT NULL,
    path text NOT NULL,
    PRIMARY KEY (connection, column_name)
);
COMMENT ON TABLE column_paths IS
'Columns of people that take their value from a path in the rows of the SIS; those without a row take it from their '
'field of OneRoster. Written through roster_map_column.';

CREATE TABLE written_values (
    connection text NOT NULL,
    column_name text NOT NULL,
    person_id text NOT NULL,
    hash bigint,
    PRIMARY KEY (connection, column_name, person_id)
);
COMMENT ON TABLE written_values IS
'For columns owned by the SIS unless edited: a hash of the value that a sync wrote last, or found at first. If the '
'value differs now, it was edited here.';

CREATE TABLE stored_values (
    connection text NOT NULL,
    person_id text NOT NULL,
    column_name text NOT NULL,
    sent bigint NOT NULL,
    stored bigint NOT NULL,
    PRIMARY KEY (connection, person_id, column_name)
);
COMMENT ON TABLE stored_values IS
'Values that the people relation stores in another form than they were sent, or did not store: a hash of each. While '
'the person has the stored value, the sent value counts as equal. Emptied by roster_attach_people.';

CREATE TABLE planned_links (
    run bigint NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    deed text NOT NULL CHECK (deed IN ('insert', 'replace', 'update', 'delete')),
    change integer,
    person_id text,
    category text,
    role_written text,
    rule text,
    linked_run bigint,
    missing boolean NOT NULL,
    returned boolean NOT NULL,
    archived boolean,
    seen bigint,
    PRIMARY KEY (run, sourced_id)
);
COMMENT ON TABLE planned_links IS
'For each preview, what its apply writes to the links; for held creates, what their approval writes. They delete it.';
COMMENT ON COLUMN planned_links.change IS
'The change that must be carried out first; NULL for none. A link inserted for a create has no person before that.';
COMMENT ON COLUMN planned_links.linked_run IS
'For a link that replaces older ones, the run that linked the person first.';
COMMENT ON COLUMN planned_links.archived IS 'Whether archived_run is set or cleared; NULL for neither.';
COMMENT ON COLUMN planned_links.seen IS 'A hash of the link as the plan saw it; NULL if there was none.';

CREATE TABLE link_changes (
    run bigint NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    before jsonb,
    PRIMARY KEY (run, sourced_id)
);
CREATE INDEX link_changes_sourced_id ON link_changes (sourced_id);
COMMENT ON TABLE link_changes IS
'The links that a sync, apply or approval wrote, as they were before, for its undo. A new link has a row only if its '
'linked_run is another run.';
COMMENT ON COLUMN link_changes.before IS 'The row of links; NULL if there was none.';

CREATE TABLE recipients (
    connection text NOT NULL,
    email text NOT NULL,
    send text NOT NULL DEFAULT 'always'
        CHECK (send IN ('always', 'changes', 'problems', 'decisions', 'failures', 'never')),
    manual boolean NOT NULL DEFAULT false,
    PRIMARY KEY (connection, email)
);
COMMENT ON TABLE recipients IS 'Who gets mail about runs, and about which.';

CREATE TABLE outbox (
    mail bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    run bigint,
    connection text,
    email text NOT NULL,
    subject text NOT NULL,
    body_text text NOT NULL,
    body_html text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    origin text NOT NULL,
    site text,
    cause text CHECK (cause IN ('settings', 'unreachable', 'timeout', 'tls', 'login', 'token', 'sender', 'protocol',
        'recipient', 'deferred', 'content')),
    answer text,
    district text,
    UNIQUE (run, email),
    CHECK ((district IS NULL) = (run IS NOT NULL AND connection IS NOT NULL))
);
CREATE INDEX outbox_connection ON outbox (connection, mail);
CREATE INDEX outbox_waiting ON outbox (next_attempt_at) WHERE state = 'waiting';
COMMENT ON TABLE outbox IS 'Mail to recipients. If the mail server is down, mail is delayed and not lost.';
COMMENT ON COLUMN outbox.site IS 'The site of the run; NULL for the digest of a district.';
COMMENT ON COLUMN outbox.cause IS
'What kind of fault last_error is. Of the mail: recipient, deferred, content. Of the mail server or its settings: the '
'others.';
COMMENT ON COLUMN outbox.answer IS 'What the mail server said when it took the mail.';
COMMENT ON COLUMN outbox.district IS 'The district of a digest, which has neither run nor connection.';
COMMENT ON COLUMN outbox.origin IS 'server_origin() where the mail was written; a restored copy sends none of it.';

CREATE TABLE minga_roster_internal.heartbeat (
    only_one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_one),
    beat_at timestamptz NOT NULL DEFAULT now(),
    failed_part text,
    failed_sqlstate text,
    failed_at timestamptz
) WITH (fillfactor = 50);
INSERT INTO minga_roster_internal.heartbeat DEFAULT VALUES;
COMMENT ON TABLE minga_roster_internal.heartbeat IS
'One row, which the worker of roster_run_due writes each minute, within its page. Never dumped: it tells of this '
'database alone. By the clock of the server, not by minga_roster.test_clock.';
COMMENT ON COLUMN minga_roster_internal.heartbeat.beat_at IS
'When a worker of roster_run_due last began, or the pg_cron job was made or activated.';
COMMENT ON COLUMN minga_roster_internal.heartbeat.failed_part IS
'The statement of the minute''s duty that failed last, and its SQLSTATE; the server log has the same.';

CREATE TABLE minga_roster_internal.mail_server (
    only_one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_one),
    settings text NOT NULL,
    cause text NOT NULL CHECK (cause IN ('settings', 'unreachable', 'timeout', 'tls', 'login', 'token', 'sender',
        'protocol')),
    error text NOT NULL,
    failing_since timestamptz NOT NULL,
    attempts integer NOT NULL,
    next_attempt_at timestamptz NOT NULL
);
COMMENT ON TABLE minga_roster_internal.mail_server IS
'One row while the mail server cannot be used: since when, why, and when it is asked again. No row if all is well.';
COMMENT ON COLUMN minga_roster_internal.mail_server.settings IS
'mail_settings() at the last try: with others the server is asked at once.';

CREATE TABLE district_recipients (
    district text NOT NULL CHECK (district <> ''),
    email text NOT NULL,
    send text NOT NULL DEFAULT 'always' CHECK (send IN ('always', 'problems', 'never')),
    PRIMARY KEY (district, email)
);
COMMENT ON TABLE district_recipients IS 'Who gets the digest of a district''s evenings.';

CREATE TABLE district_digests (
    district text NOT NULL,
    evening date NOT NULL,
    written_at timestamptz NOT NULL,
    PRIMARY KEY (district, evening)
);
COMMENT ON TABLE district_digests IS 'Evenings of a district whose digest was written, if anyone wanted one.';

CREATE TABLE audit (
    entry bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    called_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    role name NOT NULL,
    function name NOT NULL,
    connection text,
    run bigint,
    given text[] NOT NULL,
    site text
);
CREATE INDEX audit_called_at ON audit (called_at);
COMMENT ON TABLE audit IS
'Who called a function that changes settings, decides, cancels or forgets, or requested a sync, apply, approval or '
'undo; when, and for which connection or run. runs.requested_by says who requested any other run. Kept for '
'minga_roster.keep_audit days.';
COMMENT ON COLUMN audit.role IS 'The role with whose rights the function was called.';
COMMENT ON COLUMN audit.site IS 'The site that the call was about; NULL for none.';
COMMENT ON COLUMN audit.given IS
'The names of the arguments that were not NULL, including defaults, without their values.';

CREATE TABLE forgotten_people (
    site text NOT NULL,
    erasure uuid NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (site, hash, erasure)
);
COMMENT ON TABLE forgotten_people IS
'Who was erased by roster_forget: keyed hashes (HMAC-SHA-256) of what a roster row of the person may have, so that no '
'sync creates the person again. Without the sealed key, which secrets has, they tell nothing.';
COMMENT ON COLUMN forgotten_people.erasure IS 'The same for the hashes of one person.';

CREATE TABLE staged_users (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    collection text COLLATE "C" NOT NULL,
    status text,
    role text,
    enabled boolean NOT NULL,
    damaged boolean NOT NULL,
    given_name text,
    family_name text,
    middle_name text,
    preferred_name text,
    username text,
    identifier text,
    email text,
    phone text,
    grade text,
    date_last_modified text,
    org_ids text[],
    agent_ids text[],
    outcome text,
    roles text[],
    damaged_field text,
    legacy_id text COLLATE "C",
    relationships jsonb,
    id_sent bigint,
    sms text,
    user_ids text[],
    birth_date text
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_users IS
'The stage: users as received in the latest fetch of each connection, typed, names in NFC and trimmed, absent and '
'empty values as NULL. After a delta (runs.is_full false): all staff, and the changed students and contacts.';
COMMENT ON COLUMN staged_users.status IS 'As sent, in lower case; NULL if it was missing, which means active.';
COMMENT ON COLUMN staged_users.enabled IS 'enabledUser; true if it was missing.';
COMMENT ON COLUMN staged_users.damaged IS
'The row had invalid UTF-8, U+0000, a lone surrogate or a bare control character, each now U+FFFD; or a field that '
'identifies a person had the wrong JSON type or more than 1024 bytes, and is now NULL. In email, username, phones, '
'middle and preferred name and grade such a value counts as absent, and the row is not damaged.';
COMMENT ON COLUMN staged_users.damaged_field IS
'For a damaged row, the OneRoster name of the first field that could not be read; NULL if only characters could not be '
'read.';
COMMENT ON COLUMN staged_users.legacy_id IS
'The sourcedId of the user in OneRoster 1.1, as sent by Infinite Campus 1.2, without the letter of its role. '
'roster_relink uses it.';
COMMENT ON COLUMN staged_users.relationships IS
'What Infinite Campus 1.2 sends about how users are related, [{"id": sourcedId, "guardian": boolean or null, "type": '
'text or null}]. The choice of the primary contact uses it. No other metadata is kept.';
COMMENT ON COLUMN staged_users.role IS
'In lower case. For a OneRoster 1.2 row, the role at the school: the primary one; of several roles there in one '
'family, the one with the best rank in role_rules.';
COMMENT ON COLUMN staged_users.roles IS
'The roles of a OneRoster 1.2 row at the school, primary ones first; NULL unless there are several.';
COMMENT ON COLUMN staged_users.date_last_modified IS
'In UTC and in one format, 2026-01-31T23:59:59.999Z, so that comparing text compares times; NULL if it was missing or '
'unreadable.';
COMMENT ON COLUMN staged_users.agent_ids IS
'The agents that the row names, in order; an empty string for each one named without an ID.';
COMMENT ON COLUMN staged_users.id_sent IS
'If characters were removed from the sourcedId, a hash of it with them: two IDs that differ only in these are not one.';
COMMENT ON COLUMN staged_users.sms IS 'Of contacts, for connections that roster them.';
COMMENT ON COLUMN staged_users.user_ids IS
'The identifiers in userIds, for connections with birth_dates, until the fetch is settled; then NULL.';
COMMENT ON COLUMN staged_users.birth_date IS
'From demographics, as 2010-05-31, of users of rostered categories, for connections with birth_dates.';
COMMENT ON COLUMN staged_users.org_ids IS 'The schools of the user, after a diagnosis; NULL after any other run.';
COMMENT ON COLUMN staged_users.given_name IS
'Of a user whose category is not rostered (runs.reduced_roles), as family_name and preferred_name: in a form that only '
'the run itself could compare. The columns that are no keys are NULL.';
COMMENT ON COLUMN staged_users.outcome IS
'What the latest plan made of the user: create, link, update, restore, unchanged, skip, conflict, reject, protect, '
'merged, contact, ignore or forgotten. Rows of a run that plans start as unchanged, or of a first load as create, so '
'that the plan rewrites few of them; after a plain fetch it stays NULL.';

CREATE UNLOGGED TABLE stages (
    connection text NOT NULL PRIMARY KEY,
    run bigint NOT NULL,
    is_full boolean NOT NULL,
    has_contacts boolean NOT NULL,
    digest text
);
COMMENT ON TABLE stages IS
'Which run''s rows the stage of a connection holds. A connection has no row while a run fills the stage, after a fetch '
'that did not end well, after a crash, and with minga_roster.keep_stage off.';
COMMENT ON COLUMN stages.is_full IS 'False after a delta: of students and contacts only those who changed are staged.';
COMMENT ON COLUMN stages.has_contacts IS 'Whether contacts were read.';
COMMENT ON COLUMN stages.digest IS
'With classes, by which the rows that were staged are known again; NULL if an ID came twice.';

CREATE TABLE staged_orgs (
    connection text NOT NULL,
    sourced_id text COLLATE "C" NOT NULL,
    name text,
    type text,
    identifier text,
    parent_id text COLLATE "C",
    status text
) PARTITION BY LIST (connection);
COMMENT ON TABLE staged_orgs IS 'The stage: the schools visible to the connection''s key.';

DO $$
DECLARE
    config text;
BEGIN
    FOREACH config IN ARRAY ARRAY['people_relations', 'connections', 'connections_number_seq', 'toggles', 'secrets',
        'key_pairs', 'runs', 'runs_run_seq',
        'run_counts', 'run_steps', 'findings', 'run_figures', 'run_findings', 'collections', 'changes',
        'conflict_candidates', 'conflict_pairs', 'match_decisions',
        'column_owners', 'column_paths', 'written_values', 'server_facts', 'stored_values', 'links', 'planned_links',
        'link_changes', 'recipients', 'district_recipients', 'district_digests', 'outbox', 'outbox_mail_seq',
        'audit', 'audit_entry_seq', 'forgotten_people']
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(('minga_roster.' || config)::regclass, '');
    END LOOP;
    PERFORM pg_catalog.pg_extension_config_dump('minga_roster.sis'::regclass, 'WHERE NOT builtin');
    PERFORM pg_catalog.pg_extension_config_dump('minga_roster.role_rules'::regclass, 'WHERE NOT builtin');
END
$$;
