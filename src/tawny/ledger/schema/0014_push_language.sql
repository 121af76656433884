-- The language a browser is told in, as `en` or `zh`.
ALTER TABLE push_subscriptions ADD COLUMN language TEXT NOT NULL DEFAULT 'en';
