"""The incident step as the settings want it, for both drivers."""

from __future__ import annotations

from processors.bounce_rules import RulesError
from processors.classify import Classifier
from processors.incidents.step import IncidentStep
from sendtrace.settings import Settings, SettingsError
from sendtrace.settings_incidents import incident_rules_of


def incident_step(settings: Settings) -> IncidentStep:
    """Raises `SettingsError` for rules of incidents that name no class there is, and for rules of classes."""
    try:
        catalogue = Classifier.load(settings.classifier.rules).catalogue
    except RulesError as error:
        raise SettingsError(str(error)) from error
    faults = settings.incidents.faults_of_classes(catalogue)
    if faults:
        raise SettingsError("\n".join(faults))
    return IncidentStep(incident_rules_of(settings), catalogue)
