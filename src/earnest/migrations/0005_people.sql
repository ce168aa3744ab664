-- People: what clients say of freelancers, and what people say of themselves.

-- What a client says of a completed contract's freelancer: once, and for good.
CREATE TABLE review (
    id bigint PRIMARY KEY,
    public_id text NOT NULL,
    contract_id bigint NOT NULL,
    client_id bigint NOT NULL,
    freelancer_id bigint NOT NULL,
    rating smallint NOT NULL,
    description text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT review_contract_fk FOREIGN KEY (contract_id) REFERENCES contract (id),
    CONSTRAINT review_client_fk FOREIGN KEY (client_id) REFERENCES party (id),
    CONSTRAINT review_freelancer_fk FOREIGN KEY (freelancer_id) REFERENCES party (id),
    CONSTRAINT review_once UNIQUE (contract_id),
    CONSTRAINT review_rating_known CHECK (rating BETWEEN 1 AND 5)
);
CREATE INDEX review_by_freelancer ON review (freelancer_id, id DESC);

-- A profile without a row is the empty one, with the account's name as first name. Nothing here
-- is part of a contract: contracts name people as their accounts do.
CREATE TABLE client_profile (
    party_id bigint PRIMARY KEY,
    first_name text NOT NULL,
    last_name text NOT NULL,
    company_name text NOT NULL,
    description text NOT NULL,
    website text NOT NULL,
    country text NOT NULL,
    city text NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT client_profile_login_fk FOREIGN KEY (party_id) REFERENCES login (party_id)
);

CREATE TABLE freelancer_profile (
    party_id bigint PRIMARY KEY,
    first_name text NOT NULL,
    last_name text NOT NULL,
    title text NOT NULL,
    bio text NOT NULL,
    experience_level text NOT NULL,
    category_id bigint,
    languages text [] NOT NULL,
    portfolio text [] NOT NULL,
    country text NOT NULL,
    city text NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT freelancer_profile_login_fk FOREIGN KEY (party_id) REFERENCES login (party_id),
    CONSTRAINT freelancer_profile_category_fk FOREIGN KEY (category_id) REFERENCES category (id),
    CONSTRAINT freelancer_profile_level_known CHECK (
        experience_level IN ('', 'Beginner', 'Intermediate', 'Expert')
    )
);

CREATE TABLE freelancer_skill (
    party_id bigint NOT NULL,
    skill_id bigint NOT NULL,
    position smallint NOT NULL,
    PRIMARY KEY (party_id, skill_id),
    CONSTRAINT freelancer_skill_profile_fk FOREIGN KEY (party_id)
    REFERENCES freelancer_profile (party_id),
    CONSTRAINT freelancer_skill_skill_fk FOREIGN KEY (skill_id) REFERENCES skill (id)
);

GRANT SELECT, INSERT ON review TO earnest_app;
GRANT SELECT, INSERT, UPDATE ON client_profile, freelancer_profile TO earnest_app;
GRANT SELECT, INSERT, DELETE ON freelancer_skill TO earnest_app;
