"""The Streamlit shell: navigation, cached handles, routes, widgets. No SQL, HTTP client or torch in here."""
