from qtpy.QtWidgets import QApplication, QFileDialog


def test_a_project_is_chosen_and_then_named(ui, session, monkeypatch):
    dock, asked = ui.docks["project"], []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: "/tmp/old.seedlab")
    monkeypatch.setattr(session.origin, "start_from", asked.append)
    assert dock.origin.text() == "Start from…" and dock.origin.isEnabled()
    dock.origin.click()
    assert asked == ["/tmp/old.seedlab"]
    pool = {"has_model": True, "bands": 1, "range_nm": None, "n_labels": 150, "width": 0, "pool": "ct"}
    pool |= {"classes": ["normal", "dead"], "versions": [], "encoders": ["descriptors"], "recipe": {}}
    session.scans_of = lambda pool: [s for s in session.scans.values() if str(s.facts.modality) == pool]
    session.origin.facts = {"name": "old", "pools": {"ct": pool}}
    session.origin.changed.emit()
    QApplication.processEvents()
    dock.refresh()
    assert dock.origin.text() == "from old"
    assert "(150 labels) predicts these seeds" in dock.guide.text() and dock.guide.kind == "info"
    monkeypatch.setattr(session.origin, "_far", {"ct": (30, 100)})
    dock.refresh()
    assert dock.guide.text().startswith("30 % of these seeds look unlike those of old")
    assert dock.guide.kind == "warning"


def test_what_is_only_read_takes_nothing(ui, session, monkeypatch):
    monkeypatch.setattr(session, "read_only", True)
    ui.docks["project"].refresh()
    assert not ui.docks["project"].origin.isEnabled()


def test_without_a_project_there_is_nothing_to_start(ui):
    ui.bind(None)
    assert not ui.docks["project"].origin.isEnabled()
