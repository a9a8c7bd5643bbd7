//! The tables, as both backends have them. Ids and JSON are text, times are milliseconds.

diesel::table! {
    organization (id) {
        id -> Text,
        name -> Text,
        created_at -> BigInt,
        disabled_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    account (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        role -> Text,
        managed -> Bool,
        hub_admin -> Bool,
        created_at -> BigInt,
        disabled_at -> Nullable<BigInt>,
        password -> Nullable<Text>,
        tokens_from -> BigInt,
    }
}

diesel::table! {
    api_key (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        user_id -> Text,
        name -> Text,
        hash -> Binary,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sign_in_link (hash) {
        hash -> Binary,
        organization_id -> Text,
        user_id -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    hub_session (hash) {
        hash -> Binary,
        organization_id -> Text,
        user_id -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    secret (name) {
        name -> Text,
        value -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    project (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        name -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    conversation (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        user_id -> Text,
        project_id -> Nullable<Text>,
        title -> Text,
        state -> Text,
        visibility -> Text,
        agent -> Text,
        model -> Nullable<Text>,
        thinking -> Text,
        tags -> Text,
        context_from -> BigInt,
        context_summary -> Nullable<Text>,
        channel -> Nullable<Text>,
        entity_type -> Nullable<Text>,
        entity_id -> Nullable<Text>,
        next_turn_no -> BigInt,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        cache_read_tokens -> BigInt,
        cache_write_tokens -> BigInt,
        cost_micros -> Nullable<BigInt>,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::table! {
    turn (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        conversation_id -> Text,
        no -> BigInt,
        state -> Text,
        live -> Bool,
        message_id -> Text,
        answer_id -> Nullable<Text>,
        user_id -> Text,
        model -> Nullable<Text>,
        steps -> Integer,
        input_tokens -> BigInt,
        output_tokens -> BigInt,
        cache_read_tokens -> BigInt,
        cache_write_tokens -> BigInt,
        cost_micros -> Nullable<BigInt>,
        retry_of -> Nullable<Text>,
        receipt -> Nullable<Text>,
        error -> Nullable<Text>,
        refusal -> Nullable<Text>,
        routing -> Nullable<Text>,
        correlation_id -> Text,
        created_at -> BigInt,
        started_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
        boot -> Text,
    }
}

diesel::table! {
    message (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        conversation_id -> Text,
        turn_id -> Text,
        turn_no -> BigInt,
        idx -> Integer,
        author -> Text,
        user_id -> Nullable<Text>,
        state -> Text,
        superseded -> Bool,
        provider -> Nullable<Text>,
        model -> Nullable<Text>,
        input_tokens -> Nullable<BigInt>,
        output_tokens -> Nullable<BigInt>,
        cache_read_tokens -> Nullable<BigInt>,
        cache_write_tokens -> Nullable<BigInt>,
        cost_micros -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    part (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        message_id -> Text,
        idx -> Integer,
        kind -> Text,
        text -> Text,
        data -> Nullable<Text>,
        size -> BigInt,
    }
}

diesel::table! {
    part_tail (n) {
        n -> BigInt,
        organization_id -> Text,
        conversation_id -> Text,
        part_id -> Text,
        text -> Text,
    }
}

diesel::table! {
    approval (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        conversation_id -> Text,
        turn_id -> Text,
        call_id -> Text,
        tool -> Text,
        summary -> Text,
        risks -> Text,
        input -> Text,
        correlation_id -> Text,
        state -> Text,
        pending -> Bool,
        requested_at -> BigInt,
        deadline -> BigInt,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<BigInt>,
        reason -> Nullable<Text>,
        origin -> Nullable<Text>,
        remembers -> Text,
    }
}

diesel::table! {
    approval_rule (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        user_id -> Text,
        agent -> Text,
        tool -> Text,
        scope -> Text,
        digest -> Text,
        input -> Text,
        approved -> Bool,
        approval_id -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    todo_list (organization_id, conversation_id) {
        organization_id -> Text,
        conversation_id -> Text,
        items -> Text,
    }
}

diesel::table! {
    fact (organization_id, conversation_id, n) {
        organization_id -> Text,
        conversation_id -> Text,
        n -> BigInt,
        at -> BigInt,
        kind -> Text,
        turn_id -> Nullable<Text>,
        user_id -> Nullable<Text>,
        refs -> Text,
    }
}

diesel::table! {
    idempotency (organization_id, user_id, key) {
        organization_id -> Text,
        user_id -> Text,
        key -> Text,
        conversation_id -> Text,
        request -> Binary,
        answer -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    message_index (n) {
        n -> BigInt,
        organization_id -> Text,
        conversation_id -> Text,
        message_id -> Text,
    }
}

diesel::table! {
    device (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        user_id -> Text,
        name -> Text,
        role -> Text,
        hash -> Binary,
        created_at -> BigInt,
        last_seen_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    pairing_code (hash) {
        hash -> Binary,
        organization_id -> Text,
        user_id -> Text,
        role -> Text,
        device_name -> Text,
        created_at -> BigInt,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    ticket (hash) {
        hash -> Binary,
        organization_id -> Text,
        user_id -> Text,
        credential -> Text,
        role -> Text,
        hub_admin -> Bool,
        permissions -> Text,
        credential_expires_at -> Nullable<BigInt>,
        route -> Text,
        origin -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    revoked_token (organization_id, token_id) {
        organization_id -> Text,
        token_id -> Text,
        expires_at -> BigInt,
    }
}

diesel::table! {
    identity_change (n) {
        n -> BigInt,
        at -> BigInt,
        organization_id -> Text,
        user_id -> Nullable<Text>,
    }
}

diesel::table! {
    audit (n) {
        n -> BigInt,
        at -> BigInt,
        organization_id -> Nullable<Text>,
        actor -> Nullable<Text>,
        credential -> Nullable<Text>,
        action -> Text,
        target -> Nullable<Text>,
        details -> Text,
        outcome -> Nullable<Text>,
        origin -> Text,
        request_id -> Text,
    }
}

diesel::table! {
    hub_settings (n) {
        n -> BigInt,
        at -> BigInt,
        document -> Text,
    }
}

diesel::table! {
    budget_book (organization_id, budget, subject, begins_at) {
        organization_id -> Text,
        budget -> Text,
        subject -> Text,
        begins_at -> BigInt,
        used_tokens -> BigInt,
        used_micros -> BigInt,
        held_tokens -> BigInt,
        held_micros -> BigInt,
    }
}

diesel::table! {
    budget_hold (organization_id, id, budget) {
        organization_id -> Text,
        id -> Text,
        budget -> Text,
        subject -> Text,
        begins_at -> BigInt,
        tokens -> BigInt,
        micros -> BigInt,
        least_tokens -> BigInt,
        least_micros -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    conversation_alias (organization_id, user_id, alias) {
        organization_id -> Text,
        user_id -> Text,
        alias -> Text,
        conversation_id -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    action_execution (organization_id, id) {
        organization_id -> Text,
        id -> Text,
        action -> Text,
        entity_type -> Nullable<Text>,
        entity_id -> Nullable<Text>,
        input -> Text,
        user_id -> Text,
        agent_of -> Nullable<Text>,
        state -> Text,
        result -> Nullable<Text>,
        error -> Nullable<Text>,
        request_id -> Text,
        created_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        undo_until -> Nullable<BigInt>,
        undo_claimed_at -> Nullable<BigInt>,
        undone_at -> Nullable<BigInt>,
        undone_by -> Nullable<Text>,
    }
}

diesel::joinable!(account -> organization (organization_id));

diesel::allow_tables_to_appear_in_same_query!(
    organization,
    account,
    api_key,
    sign_in_link,
    hub_session,
    secret,
    project,
    conversation,
    turn,
    message,
    part,
    part_tail,
    approval,
    todo_list,
    fact,
    idempotency,
    message_index,
    device,
    pairing_code,
    ticket,
    revoked_token,
    identity_change,
    audit,
    hub_settings,
    budget_book,
    budget_hold,
    conversation_alias,
    action_execution,
    approval_rule,
);
